// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Sends the uevent NEW_VMGENID=1 when the hypervisor announces another VM generation, as the kernels of some clouds
 * do and the mainline kernel does not.
 */
#include <linux/acpi.h>
#include <linux/kobject.h>
#include <linux/module.h>

static struct acpi_device *generation;

static void notify(acpi_handle handle, u32 event, void *data)
{
	char *words[] = { "NEW_VMGENID=1", NULL };

	kobject_uevent_env(&generation->dev.kobj, KOBJ_CHANGE, words);
}

static int __init load(void)
{
	generation = acpi_dev_get_first_match_dev("VM_GEN_COUNTER", NULL, -1);
	if (!generation)
		generation = acpi_dev_get_first_match_dev("QEMUVGID", NULL, -1);
	if (!generation)
		return -ENODEV;
	if (ACPI_FAILURE(acpi_install_notify_handler(generation->handle, ACPI_DEVICE_NOTIFY, notify, NULL))) {
		acpi_dev_put(generation);
		return -EBUSY;
	}
	return 0;
}
module_init(load);

static void __exit unload(void)
{
	acpi_remove_notify_handler(generation->handle, ACPI_DEVICE_NOTIFY, notify);
	acpi_dev_put(generation);
}
module_exit(unload);

MODULE_DESCRIPTION("Announces a new VM generation as a uevent, for tests");
MODULE_LICENSE("GPL"); /* what the kernel's symbols ask for */
