//! Which cloud this is (by DMI, never by address: clouds share link-local addresses) and which
//! NTP servers it gives to its guests.

use std::fmt;

use super::evidence::Dmi;
use crate::units::Timescale;

/// A cloud.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cloud {
    /// Amazon EC2.
    Aws,
    /// Google Compute Engine.
    Google,
    /// Microsoft Azure.
    Azure,
    /// Oracle Cloud.
    Oracle,
    /// Alibaba Cloud.
    Alibaba,
    /// NAVER Cloud.
    Naver,
    /// Hetzner Cloud.
    Hetzner,
    /// DigitalOcean.
    DigitalOcean,
    /// IBM Cloud.
    Ibm,
    /// Some OpenStack.
    OpenStack,
    /// None that we know.
    Unknown,
}

/// The chassis asset tag of every Azure guest.
const AZURE_TAG: &str = "7783-7084-3265-9085-8269-3286-77";

impl Cloud {
    /// Lower-case word for tables and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Google => "google",
            Self::Azure => "azure",
            Self::Oracle => "oracle",
            Self::Alibaba => "alibaba",
            Self::Naver => "naver",
            Self::Hetzner => "hetzner",
            Self::DigitalOcean => "digitalocean",
            Self::Ibm => "ibm",
            Self::OpenStack => "openstack",
            Self::Unknown => "unknown",
        }
    }

    /// The cloud and what gave it away. Named clouds come before OpenStack, on which some are built.
    pub(super) fn detect(dmi: &Dmi) -> (Self, &'static str) {
        let tag = dmi.chassis_asset_tag.as_str();
        if dmi.is_aws() {
            (Self::Aws, "DMI says Amazon EC2")
        } else if dmi.product_name == "Google Compute Engine" || dmi.sys_vendor == "Google" {
            (Self::Google, "DMI says Google Compute Engine")
        } else if tag == AZURE_TAG {
            (Self::Azure, "the chassis asset tag is Azure's")
        } else if tag == "OracleCloud.com" {
            (Self::Oracle, "the chassis asset tag is OracleCloud.com")
        } else if dmi.mentions("Alibaba Cloud") {
            (Self::Alibaba, "DMI says Alibaba Cloud")
        } else if dmi.mentions("naver") || dmi.mentions("ncloud") {
            (Self::Naver, "DMI says NAVER Cloud")
        } else if dmi.sys_vendor == "Hetzner" {
            (Self::Hetzner, "DMI says Hetzner")
        } else if dmi.sys_vendor == "DigitalOcean" {
            (Self::DigitalOcean, "DMI says DigitalOcean")
        } else if dmi.mentions("IBM:Cloud") || tag.eq_ignore_ascii_case("ibmcloud") {
            (Self::Ibm, "DMI says IBM Cloud")
        } else if dmi.mentions("OpenStack") {
            (Self::OpenStack, "DMI says OpenStack")
        } else if dmi.is_empty() {
            (Self::Unknown, "there is no DMI to tell")
        } else {
            (Self::Unknown, "DMI names no cloud that we know")
        }
    }

    /// The servers to use here. `ipv6` says whether this machine has a routable IPv6 address.
    #[must_use]
    pub fn ntp(self, ipv6: bool) -> Vec<NtpSource> {
        let server = |address| NtpSource { address, ..NtpSource::POOL_DEFAULTS.into_server() };
        match self {
            Self::Aws => {
                let near = |address| NtpSource {
                    prefer: true,
                    minpoll: Some(4),
                    maxpoll: Some(4),
                    timescale: Timescale::Smeared,
                    note: "smears leap seconds; shares 1024 packets a second with DNS",
                    ..server(address)
                };
                let mut sources = vec![near("169.254.169.123")];
                sources.extend(ipv6.then(|| near("fd00:ec2::123")));
                sources
            }
            Self::Google => vec![NtpSource {
                prefer: true,
                timescale: Timescale::Smeared,
                note: "smears leap seconds over 24 hours; mix with nothing that does not",
                ..server("metadata.google.internal")
            }],
            Self::Oracle => vec![server("169.254.169.254")],
            Self::Alibaba => vec![NtpSource { timescale: Timescale::Unknown, ..server("100.100.61.88") }],
            Self::Naver => ["169.254.169.123", "169.254.169.124"]
                .map(|address| NtpSource { timescale: Timescale::Unknown, ..server(address) })
                .to_vec(),
            Self::Hetzner => ["ntp1.hetzner.de", "ntp2.hetzner.com", "ntp3.hetzner.net"]
                .map(|address| NtpSource { note: "public pools are blocked here", ..server(address) })
                .to_vec(),
            Self::Ibm => vec![NtpSource { timescale: Timescale::Unknown, ..server("time.adn.networklayer.com") }],
            Self::Azure | Self::DigitalOcean | Self::OpenStack | Self::Unknown => vec![NtpSource::POOL_DEFAULTS],
        }
    }
}

/// An NTP server or pool to use, with its options.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NtpSource {
    /// Address or name.
    pub address: &'static str,
    /// Whether the name stands for many servers, and how many of them to use.
    pub maxsources: Option<u8>,
    /// log2 of the shortest interval in seconds.
    pub minpoll: Option<i8>,
    /// log2 of the longest interval in seconds.
    pub maxpoll: Option<i8>,
    /// Begin with a burst.
    pub iburst: bool,
    /// Follow it rather than others.
    pub prefer: bool,
    /// What it hands out.
    pub timescale: Timescale,
    /// What to know about it; empty if nothing.
    pub note: &'static str,
}

impl NtpSource {
    const POOL_DEFAULTS: Self = Self {
        address: "pool.ntp.org",
        maxsources: Some(4),
        minpoll: None,
        maxpoll: None,
        iburst: true,
        prefer: false,
        timescale: Timescale::Utc,
        note: "",
    };

    const fn into_server(self) -> Self {
        Self { maxsources: None, ..self }
    }
}

/// The line of configuration that stands for the source.
impl fmt::Display for NtpSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", if self.maxsources.is_some() { "pool" } else { "server" }, self.address)?;
        if self.prefer {
            write!(f, " prefer")?;
        }
        if self.iburst {
            write!(f, " iburst")?;
        }
        for (option, value) in [("minpoll", self.minpoll), ("maxpoll", self.maxpoll)] {
            if let Some(value) = value {
                write!(f, " {option} {value}")?;
            }
        }
        self.maxsources.map_or(Ok(()), |count| write!(f, " maxsources {count}"))
    }
}
