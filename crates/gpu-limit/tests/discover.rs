//! Discovery on copies of real machines' files.

// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used)]

mod machine;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use gpu_limit::{AmdGpu, Gpus, KernelRoot, MigInstance, PciAddress, discover};
use machine::{Machine, uuid};

fn seen(machine: &Machine) -> Gpus {
    discover(&KernelRoot { root: machine.root().to_owned() })
}

fn minors(gpus: &Gpus) -> Vec<u32> {
    gpus.nvidia.iter().map(|gpu| gpu.minor).collect()
}

#[test]
fn a_machine_without_gpus_has_none_and_nothing_to_remark() {
    let machine = Machine::empty();
    machine.write("dev/null", "").write("proc/version", "Linux");
    assert_eq!(seen(&machine), Gpus::default());
    assert_eq!(discover(&KernelRoot { root: machine.root().join("missing") }), Gpus::default());
    machine.write("dev/kfd", "").kfd_node(0, 0, "cpu_cores_count 64\n");
    assert_eq!(seen(&machine), Gpus::default(), "a processor alone");
}

#[test]
fn nvidia_gpus_come_in_pci_order_by_value_whatever_their_device_numbers_are() {
    let machine = Machine::empty();
    machine
        .nvidia("0000:c1:00.0", 0, '0')
        .nvidia("0000:07:00.0", 10, '1')
        .nvidia("10000:01:00.0", 2, '2')
        .nvidia("0001:01:00.0", 3, '3')
        .write("dev/nvidiactl", "")
        .write("dev/nvidia-uvm", "");
    let gpus = seen(&machine);
    assert_eq!(minors(&gpus), [10, 0, 3, 2]);
    assert_eq!(gpus.nvidia[0].uuid, Some(uuid('1')));
    assert_eq!(gpus.nvidia[0].pci, PciAddress::parse("0000:07:00.0"));
    assert_eq!(gpus.nvidia[0].model.as_deref(), Some("NVIDIA A100-SXM4-80GB"));
    assert_eq!(gpus.remarks, [""; 0]);
}

#[test]
fn gpus_of_the_machine_without_a_device_in_the_container_do_not_count() {
    let machine = Machine::empty();
    machine
        .nvidia_in_proc("0000:07:00.0", 0, '0')
        .nvidia("0000:0a:00.0", 1, '1')
        .nvidia_in_proc("0000:47:00.0", 2, '2')
        .write("dev/nvidia7", "");
    let gpus = seen(&machine);
    assert_eq!(minors(&gpus), [1]);
    assert_eq!(
        gpus.remarks,
        [
            "2 more NVIDIA GPU(s) of the host have no device in this container",
            "/dev/nvidia7 is not a GPU that the driver knows",
        ]
    );
}

#[test]
fn a_gpu_that_the_driver_excludes_does_not_count() {
    let machine = Machine::empty();
    machine.nvidia("0000:0a:00.0", 1, '1').write("dev/nvidia0", "").write(
        "proc/driver/nvidia/gpus/0000:07:00.0/information",
        "Model: X\nDevice Minor: 0\nGPU Excluded: Yes\n",
    );
    let gpus = seen(&machine);
    assert_eq!(minors(&gpus), [1]);
    assert_eq!(gpus.remarks, ["/dev/nvidia0 is excluded by the driver"]);
    assert!(!gpus.unusable);
    fs::remove_file(machine.root().join("dev/nvidia1")).unwrap();
    assert!(seen(&machine).unusable);
}

#[test]
fn device_nodes_alone_are_gpus_without_a_name() {
    let machine = Machine::empty();
    machine.write("dev/nvidia1", "").write("dev/nvidia0", "");
    let gpus = seen(&machine);
    assert_eq!(minors(&gpus), [0, 1]);
    assert!(gpus.nvidia.iter().all(|gpu| gpu.uuid.is_none() && gpu.pci.is_none()));
}

#[test]
fn a_gpu_whose_file_cannot_be_read_still_counts_and_is_remarked() {
    let machine = Machine::empty();
    machine
        .nvidia("0000:0a:00.0", 1, '1')
        .write("dev/nvidia0", "")
        .write("proc/driver/nvidia/gpus/0000:07:00.0/information/denied", "");
    let gpus = seen(&machine);
    assert_eq!(minors(&gpus), [1, 0]);
    assert_eq!(
        gpus.remarks,
        ["cannot read /proc/driver/nvidia/gpus/0000:07:00.0/information: not a regular file"]
    );
}

#[test]
fn a_gpu_that_the_driver_has_not_started_counts_without_a_name() {
    let machine = Machine::empty();
    machine.nvidia("0000:07:00.0", 0, '?');
    let gpus = seen(&machine);
    assert_eq!((minors(&gpus), gpus.nvidia[0].uuid.clone()), (vec![0], None));
}

#[test]
fn mig_instances_count_if_the_container_has_both_of_their_nodes() {
    let machine = Machine::empty();
    machine
        .nvidia("0000:07:00.0", 0, '0')
        .mig(0, 13, 120)
        .mig(0, 7, 66)
        .mig_in_proc(0, 8, 75)
        .mig_in_proc(0, 9, 84)
        .write("dev/nvidia-caps/nvidia-cap84", "")
        .mig_in_proc(0, 10, 93)
        .write("dev/nvidia-caps/nvidia-cap94", "");
    let gpus = seen(&machine);
    assert_eq!(
        gpus.nvidia[0].mig.as_ref().unwrap().instances,
        [7, 13].map(|gpu_instance| MigInstance { gpu_instance, compute_instance: 0 })
    );
    assert_eq!(gpus.remarks, [""; 0]);
}

#[test]
fn a_gpu_that_could_do_mig_but_does_not_is_whole() {
    let machine = Machine::empty();
    machine
        .nvidia("0000:07:00.0", 0, '0')
        .write("proc/driver/nvidia/capabilities/mig/config", "DeviceFileMinor: 1\n")
        .write("proc/driver/nvidia/capabilities/gpu0/mig/.keep", "")
        .write("dev/nvidia-caps/nvidia-cap1", "")
        .write("dev/nvidia-caps/nvidia-cap2", "");
    assert_eq!(seen(&machine).nvidia[0].mig, None);
}

#[test]
fn a_gpu_in_mig_mode_without_instances_for_us_is_remarked() {
    let machine = Machine::empty();
    machine.nvidia("0000:07:00.0", 0, '0').mig_in_proc(0, 7, 66);
    let gpus = seen(&machine);
    assert_eq!(gpus.nvidia[0].mig, Some(gpu_limit::Mig::default()));
    assert_eq!(gpus.remarks, ["/dev/nvidia0 is in MIG mode and has no instance for this container"]);
}

#[test]
fn amd_gpus_come_in_the_order_of_their_nodes_and_processors_are_no_gpus() {
    let machine = Machine::empty();
    machine.kfd_node(0, 0, "cpu_cores_count 64\n").amd(10, 129).amd(2, 130);
    let gpus = seen(&machine);
    let gpu = |node: u32, render_minor, pci| AmdGpu {
        node,
        render_minor,
        pci: PciAddress::parse(pci),
        target: Some("gfx90a".to_owned()),
        uuid: Some(format!("GPU-{node:016x}")),
    };
    assert_eq!(gpus.amd, [gpu(2, 130, "0000:02:00.0"), gpu(10, 129, "0000:0a:00.0")]);
    assert_eq!(gpus.remarks, [""; 0]);
}

#[test]
fn amd_gpus_of_others_and_those_without_a_device_do_not_count() {
    let machine = Machine::empty();
    machine
        .amd(1, 128)
        .kfd_node(2, 7, "drm_render_minor 129\n")
        .kfd_node(3, 7, "simd_count 4\n")
        .write("sys/class/kfd/kfd/topology/nodes/4/gpu_id/denied", "");
    let gpus = seen(&machine);
    assert_eq!(gpus.amd.iter().map(|gpu| gpu.node).collect::<Vec<_>>(), [1]);
    assert_eq!(
        gpus.remarks,
        [
            "AMD GPU of KFD node 2: /dev/dri/renderD129 is not in this container",
            "cannot read KFD node 3: its properties name no render device",
            "cannot read KFD node 4: not a regular file",
        ]
    );
}

#[test]
fn amd_gpus_that_the_kernel_refuses_to_show_are_counted_as_those_of_others() {
    let machine = Machine::empty();
    machine.amd(1, 128).amd(2, 129).amd(3, 130);
    let nodes = machine.root().join("sys/class/kfd/kfd/topology/nodes");
    deny(&nodes.join("2/gpu_id"));
    deny(&nodes.join("3/properties"));
    fs::set_permissions(machine.root(), Permissions::from_mode(0o755)).unwrap();
    let root = KernelRoot { root: machine.root().to_owned() };
    let gpus = thread::spawn(move || {
        // Only this thread drops root, for whom file modes have no effect.
        nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65_534));
        discover(&root)
    })
    .join()
    .unwrap();
    assert_eq!(gpus.amd.iter().map(|gpu| gpu.node).collect::<Vec<_>>(), [1]);
    assert_eq!(gpus.remarks, ["2 more AMD GPU(s) of the host are not available to this container"]);
}

fn deny(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o000)).unwrap();
}

#[test]
fn amd_gpus_need_the_compute_device() {
    let machine = Machine::empty();
    machine.amd(1, 128);
    fs::remove_file(machine.root().join("dev/kfd")).unwrap();
    let gpus = seen(&machine);
    assert_eq!(gpus.amd, []);
    assert_eq!(gpus.remarks, ["1 AMD GPU(s) cannot be used: /dev/kfd is not in this container"]);
}

#[test]
fn gpus_behind_wsl_cannot_be_counted() {
    let machine = Machine::empty();
    machine.write("dev/dxg", "");
    assert!(seen(&machine).uncountable);
    machine.write("dev/nvidia0", "");
    assert!(!seen(&machine).uncountable);
}

#[test]
fn a_pipe_where_a_file_should_be_does_not_stop_the_boot() {
    let machine = Machine::empty();
    machine.nvidia("0000:07:00.0", 0, '0');
    let information = machine.root().join("proc/driver/nvidia/gpus/0000:07:00.0/information");
    fs::remove_file(&information).unwrap();
    nix::unistd::mkfifo(&information, nix::sys::stat::Mode::S_IRUSR).unwrap();
    let (sender, receiver) = mpsc::channel();
    let root = KernelRoot { root: machine.root().to_owned() };
    thread::spawn(move || sender.send(discover(&root)));
    let gpus = receiver.recv_timeout(Duration::from_secs(10)).expect("it waits for the pipe");
    assert_eq!(minors(&gpus), [0]);
}
