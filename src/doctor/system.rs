//! What the file tree says of kernel, modules, processes, devices and files that matter to time.
//!
//! The root is a parameter so that tests bring their own tree. What cannot be read counts as not there.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::platform::daemons::{self, TimeDaemon};

/// A kernel's log line that no longer fits is cut.
const LOG_RECORD: usize = 8192;
/// So many records of the kernel's log are looked at.
const LOG_RECORDS: usize = 20_000;
/// Bit of `CAP_SYS_TIME`.
const CAP_SYS_TIME: u32 = 25;

/// The machine's files, as far as they matter to time.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct System {
    /// The kernel's release, such as `6.1.0-18-cloud-amd64`.
    pub kernel: String,
    /// `ID` of `/etc/os-release`.
    pub distribution: String,
    /// Whether the CPU is an ARM.
    pub arm: bool,
    /// Flags of the CPU.
    pub cpu_flags: Vec<String>,
    /// Time daemons that run, by process id.
    pub daemons: Vec<TimeDaemon>,
    /// Whether a process may set the clock: this one now, and with all rights it could get here. `None` if the kernel does
    /// not show it.
    pub may_set_clock: Option<(bool, bool)>,
    /// What the kernel said of clocks since it started.
    pub kernel_log: Vec<String>,
    /// `/etc/adjtime` says that the hardware clock holds local time.
    pub rtc_in_local_time: bool,
    /// Device files of clocks.
    pub nodes: Vec<Node>,
    /// Whom the systemd unit runs the daemon as.
    pub unit_user: Option<User>,
    /// Every module and whether it is there: see [`System::module`].
    modules: Modules,
    /// PCI slots of Amazon network cards, and whether the driver's parameter switches their clock on.
    pub ena: Vec<String>,
    /// `phc_enable` of the driver; `None` where the driver has no such parameter.
    pub ena_phc: Option<bool>,
    /// A vmclock device that the hypervisor offers, driver or not.
    pub vmclock_offered: bool,
    /// A virtio-rtc device that the hypervisor offers, and whether a driver has it.
    pub virtio_rtc_offered: Option<bool>,
    /// The firewall whose rules let no NTP in, by the program that governs it.
    pub closed_firewall: Option<&'static str>,
    /// Whether `systemd` runs the machine.
    pub systemd: bool,
}

/// A device file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Where it is or should be.
    pub path: PathBuf,
    /// Permission bits, owner and group; `None` if it is not there.
    pub access: Option<(u32, u32, u32)>,
}

/// A user of `/etc/passwd`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// The name.
    pub name: String,
    /// The number.
    pub uid: u32,
    /// Groups.
    pub gids: Vec<u32>,
}

/// Whether the kernel has a module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Module {
    /// It is in use.
    Loaded,
    /// It is part of the kernel.
    BuiltIn,
    /// It can be loaded.
    Available,
    /// The modules of this kernel are there, and it is not among them.
    Absent,
    /// This kernel loads no modules.
    NoModules,
    /// The modules of this kernel are not here to be seen.
    Unknown,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Modules {
    can_load: bool,
    loaded: Vec<String>,
    /// Texts of `modules.builtin` and `modules.dep`; `None` without a directory for this kernel.
    lists: Option<(String, String)>,
}

impl System {
    /// Looks at the tree that begins at `root`; `wanted_user` is whom the configuration names.
    #[must_use]
    pub fn read(root: &Path, wanted_user: Option<&str>) -> Self {
        let tree = Tree(root);
        let kernel = tree.line("proc/sys/kernel/osrelease");
        let unit_user = wanted_user.map(str::to_owned).or_else(|| tree.unit_user()).and_then(|name| tree.user(&name));
        Self {
            distribution: tree.setting("etc/os-release", "ID").unwrap_or_default(),
            arm: tree.text("proc/cpuinfo").contains("CPU implementer"),
            cpu_flags: tree.cpu_flags(),
            daemons: daemons::time_daemons(root),
            may_set_clock: tree.may_set_clock(),
            kernel_log: tree.kernel_log(),
            rtc_in_local_time: tree.text("etc/adjtime").lines().nth(2).is_some_and(|line| line.trim() == "LOCAL"),
            nodes: tree.nodes(),
            unit_user,
            modules: tree.modules(&kernel),
            ena: tree.list("sys/bus/pci/drivers/ena").into_iter().filter(|name| name.contains(':')).collect(),
            ena_phc: tree.given("sys/module/ena/parameters/phc_enable").map(|text| matches!(text.as_str(), "1" | "Y" | "y")),
            vmclock_offered: tree.vmclock_offered(),
            virtio_rtc_offered: tree.virtio_rtc(),
            closed_firewall: tree.closed_firewall(),
            systemd: tree.is("run/systemd/system"),
            kernel,
        }
    }

    /// Whether the kernel has this module.
    #[must_use]
    pub fn module(&self, name: &str) -> Module {
        let file = format!("/{name}.ko");
        let listed = |text: &str| text.lines().any(|line| line.split(':').next().is_some_and(|path| path.contains(&file)));
        if self.modules.loaded.iter().any(|loaded| loaded == name) {
            return Module::Loaded;
        }
        match &self.modules.lists {
            Some((builtin, _)) if listed(builtin) => Module::BuiltIn,
            _ if !self.modules.can_load => Module::NoModules,
            Some((_, loadable)) if listed(loadable) => Module::Available,
            Some(_) => Module::Absent,
            None => Module::Unknown,
        }
    }

    /// Major and minor number of the kernel; zeros if unknown.
    #[must_use]
    pub fn kernel_version(&self) -> (u32, u32) {
        let mut numbers = self.kernel.split(|c: char| !c.is_ascii_digit()).map(|word| word.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }

    /// Time daemons that are not ours.
    pub fn rivals(&self) -> impl Iterator<Item = &TimeDaemon> {
        self.daemons.iter().filter(|daemon| daemon.name != "paraclock")
    }
}

impl Node {
    /// Whether `user` may read it, by its mode.
    #[must_use]
    pub fn readable_by(&self, user: &User) -> bool {
        self.access.is_some_and(|(mode, uid, gid)| {
            let bit = if uid == user.uid {
                0o400
            } else if user.gids.contains(&gid) {
                0o040
            } else {
                0o004
            };
            user.uid == 0 || mode & bit != 0
        })
    }
}

/// The tree, with the few ways of reading that are needed.
struct Tree<'a>(&'a Path);

impl Tree<'_> {
    fn text(&self, path: &str) -> String {
        fs::read(self.0.join(path)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    fn line(&self, path: &str) -> String {
        self.text(path).trim().to_owned()
    }

    fn given(&self, path: &str) -> Option<String> {
        let text = self.line(path);
        (!text.is_empty()).then_some(text)
    }

    fn is(&self, path: &str) -> bool {
        self.0.join(path).exists()
    }

    /// Names in a directory, sorted.
    fn list(&self, path: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.0.join(path)) else { return Vec::new() };
        let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// The value of `KEY=value`, quotes left out.
    fn setting(&self, path: &str, key: &str) -> Option<String> {
        let text = self.text(path);
        let value = text.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))?;
        Some(value.trim().trim_matches('"').to_owned())
    }

    fn cpu_flags(&self) -> Vec<String> {
        let text = self.text("proc/cpuinfo");
        let flags = text.lines().find_map(|line| line.strip_prefix("flags")).unwrap_or_default();
        flags.trim_start_matches([' ', '\t', ':']).split_whitespace().map(str::to_owned).collect()
    }

    fn may_set_clock(&self) -> Option<(bool, bool)> {
        let text = self.text("proc/self/status");
        let set = |name: &str| {
            let hex = text.lines().find_map(|line| line.strip_prefix(name))?.trim();
            u64::from_str_radix(hex, 16).ok().map(|bits| bits >> CAP_SYS_TIME & 1 == 1)
        };
        Some((set("CapEff:")?, set("CapBnd:")?))
    }

    /// Records of `/dev/kmsg`, one a read, or lines of an ordinary file.
    fn kernel_log(&self) -> Vec<String> {
        let path = self.0.join("dev/kmsg");
        let Ok(mut file) = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) else { return Vec::new() };
        let mut text = String::new();
        let mut record = [0; LOG_RECORD];
        for _ in 0..LOG_RECORDS {
            match file.read(&mut record) {
                // The newest record was the last.
                Ok(0) => break,
                Ok(n) => text += &String::from_utf8_lossy(&record[..n]),
                // EPIPE: a record was overwritten while we read.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Err(_) => break,
            }
        }
        let message = |line: &str| line.split_once(';').map_or(line, |(_, message)| message).to_owned();
        let about_clocks = |line: &String| ["clocksource", "ptp", "tsc", "kvm-clock", "vmclock"].iter().any(|word| line.contains(word));
        text.lines().map(message).filter(about_clocks).collect()
    }

    fn nodes(&self) -> Vec<Node> {
        let mut names: Vec<String> = self.list("sys/class/ptp").into_iter().filter(|name| name.starts_with("ptp")).collect();
        names.extend(self.list("sys/class/misc").into_iter().filter(|name| name.starts_with("vmclock")));
        names
            .into_iter()
            .map(|name| {
                let path = self.0.join("dev").join(name);
                let access = fs::metadata(&path).ok().map(|data| (data.mode() & 0o7777, data.uid(), data.gid()));
                Node { path, access }
            })
            .collect()
    }

    fn unit_user(&self) -> Option<String> {
        ["etc", "run", "usr/lib", "lib"].iter().find_map(|dir| self.setting(&format!("{dir}/systemd/system/paraclock.service"), "User"))
    }

    fn user(&self, name: &str) -> Option<User> {
        let passwd = self.text("etc/passwd");
        let fields: Vec<&str> = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == name)?;
        let (uid, gid) = (fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?);
        let groups = self.text("etc/group");
        let member = |line: &str| {
            let fields: Vec<&str> = line.split(':').collect();
            let named = fields.get(3)?.split(',').any(|member| member == name);
            fields.get(2)?.parse().ok().filter(|_| named)
        };
        let gids = std::iter::once(gid).chain(groups.lines().filter_map(member)).collect();
        Some(User { name: name.to_owned(), uid, gids })
    }

    fn modules(&self, kernel: &str) -> Modules {
        let loaded = self.list("sys/module").into_iter().map(|name| name.replace('-', "_")).collect();
        let dir = format!("lib/modules/{kernel}");
        let lists = ["", "usr/"].iter().map(|usr| format!("{usr}{dir}")).find(|dir| self.is(&format!("{dir}/modules.dep")));
        let lists = lists.map(|dir| (self.text(&format!("{dir}/modules.builtin")), self.text(&format!("{dir}/modules.dep"))));
        // A kernel built without loadable modules has no such file.
        Modules { can_load: self.is("proc/modules"), loaded, lists }
    }

    fn vmclock_offered(&self) -> bool {
        self.list("sys/bus/acpi/devices").iter().any(|name| name.starts_with("AMZNC10C") || name.starts_with("VMCLOCK"))
    }

    fn virtio_rtc(&self) -> Option<bool> {
        // The device id of a clock is 17.
        let clock = |name: &String| self.line(&format!("sys/bus/virtio/devices/{name}/device")) == "0x0011";
        let name = self.list("sys/bus/virtio/devices").into_iter().find(clock)?;
        Some(self.is(&format!("sys/bus/virtio/devices/{name}/driver")))
    }

    fn closed_firewall(&self) -> Option<&'static str> {
        let ufw = self.setting("etc/ufw/ufw.conf", "ENABLED").is_some_and(|value| value == "yes");
        if ufw && !self.text("etc/ufw/user.rules").contains("--dport 123 ") {
            return Some("ufw");
        }
        let firewalld = self.list("proc").iter().any(|pid| self.line(&format!("proc/{pid}/comm")) == "firewalld");
        let zones = self.list("etc/firewalld/zones");
        let open = |zone: &String| {
            let text = self.text(&format!("etc/firewalld/zones/{zone}"));
            text.contains("service name=\"ntp\"") || text.contains("port=\"123\"")
        };
        if firewalld && !zones.iter().any(open) {
            return Some("firewalld");
        }
        let rules = self.text("etc/nftables.conf");
        let opens = rules.contains("dport 123") || rules.contains("dport ntp") || rules.contains("ntp,") || rules.contains("123,");
        (rules.contains("policy drop") && rules.contains("hook input") && !opens).then_some("nftables")
    }
}

#[cfg(test)]
mod tests;
