//! Small reads of sysfs and procfs under an injectable root, and the DMI strings.

use std::fs;
use std::path::Path;

/// The file's text; empty if it cannot be read.
pub(super) fn read(root: &Path, path: &str) -> String {
    fs::read(root.join(path)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// Whether there is such a file.
pub(super) fn exists(root: &Path, path: &str) -> bool {
    root.join(path).exists()
}

/// What the firmware says of the machine; empty strings where it says nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Dmi {
    pub(super) sys_vendor: String,
    pub(super) product_name: String,
    pub(super) bios_vendor: String,
    pub(super) bios_version: String,
    pub(super) board_vendor: String,
    pub(super) chassis_vendor: String,
    pub(super) chassis_asset_tag: String,
}

impl Dmi {
    pub(super) fn read(root: &Path) -> Self {
        let field = |name: &str| read(root, &format!("sys/class/dmi/id/{name}")).trim().to_owned();
        Self {
            sys_vendor: field("sys_vendor"),
            product_name: field("product_name"),
            bios_vendor: field("bios_vendor"),
            bios_version: field("bios_version"),
            board_vendor: field("board_vendor"),
            chassis_vendor: field("chassis_vendor"),
            chassis_asset_tag: field("chassis_asset_tag"),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether any field contains `word`, in whatever case.
    pub(super) fn mentions(&self, word: &str) -> bool {
        let word = word.to_lowercase();
        [
            &self.sys_vendor,
            &self.product_name,
            &self.bios_vendor,
            &self.bios_version,
            &self.board_vendor,
            &self.chassis_vendor,
            &self.chassis_asset_tag,
        ]
        .iter()
        .any(|field| field.to_lowercase().contains(&word))
    }

    pub(super) fn is_hyperv(&self) -> bool {
        self.sys_vendor == "Microsoft Corporation" && self.product_name == "Virtual Machine"
    }

    /// Nitro and bare metal say "Amazon EC2"; Xen instances have it in the BIOS version alone.
    pub(super) fn is_aws(&self) -> bool {
        self.mentions("Amazon EC2") || self.bios_version.to_lowercase().contains("amazon")
    }
}
