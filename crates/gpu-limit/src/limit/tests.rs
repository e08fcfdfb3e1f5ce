use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::*;
use crate::{AmdGpu, Mig, MigInstance};

pub fn env(pairs: &[(&str, &str)]) -> Env {
    pairs.iter().copied().collect()
}

/// GPUs named `GPU-a`, `GPU-b`, …
pub fn nvidia(count: u8) -> Gpus {
    let names: Vec<_> = (0..count).map(|index| format!("GPU-{}", char::from(b'a' + index))).collect();
    nvidia_named(&names)
}

fn nvidia_named(names: &[impl ToString]) -> Gpus {
    let gpus = (0..).zip(names).map(|(minor, name)| NvidiaGpu {
        minor,
        uuid: Some(name.to_string()),
        ..NvidiaGpu::default()
    });
    Gpus { nvidia: gpus.collect(), ..Gpus::default() }
}

pub fn amd(count: u32) -> Gpus {
    let gpus = (1..=count).map(|node| AmdGpu { node, ..AmdGpu::default() });
    Gpus { amd: gpus.collect(), ..Gpus::default() }
}

pub fn mig(instances: u32) -> NvidiaGpu {
    let instances =
        (0..instances).map(|gpu_instance| MigInstance { gpu_instance, compute_instance: 0 }).collect();
    NvidiaGpu {
        minor: 9,
        uuid: Some("GPU-parent".to_owned()),
        mig: Some(Mig { instances }),
        ..NvidiaGpu::default()
    }
}

pub fn uncountable() -> Gpus {
    Gpus { uncountable: true, ..Gpus::default() }
}

/// The exports as one line each, and how many problems there are.
#[track_caller]
fn check(pairs: &[(&str, &str)], gpus: &Gpus, exports: &[&str], problems: &[&str]) {
    let limit = limit(&env(pairs), gpus);
    let exported: Vec<String> =
        limit.variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(exported, exports, "exports");
    let message: Vec<String> = limit.problems.iter().map(ToString::to_string).collect();
    assert_eq!(message, problems, "problems");
}

#[test]
fn nothing_is_exported_without_a_limit_or_with_one_that_is_high_enough() {
    for count in
        ["", "  ", "all", "ALL", "2", " 02 ", "3", "18446744073709551615", "99999999999999999999999999"]
    {
        for gpus in [nvidia(2), amd(2), Gpus::default()] {
            check(&[("GPU_COUNT", count)], &gpus, &[], &[]);
        }
    }
    check(&[], &nvidia(2), &[], &[]);
}

#[test]
fn what_is_no_number_is_reported_and_limits_nothing() {
    for count in ["-1", "+1", "two", "0x1", "1.5", "1 2", "1,2", "٢", "$(id)"] {
        let message =
            format!("GPU_COUNT: {count:?} is not a number of GPUs (0 or more, or 'all'); no limit is set");
        check(&[("GPU_COUNT", count)], &nvidia(2), &[], &[&message]);
    }
    let mut bytes = Env::default();
    bytes.set("GPU_COUNT", OsString::from_vec(vec![0xff]));
    let limit = limit(&bytes, &nvidia(2));
    assert_eq!((limit.count, limit.variables, limit.problems.len()), (None, vec![], 1));
}

#[test]
fn zero_hides_every_gpu_whether_it_was_found_or_not() {
    let hidden = ["CUDA_VISIBLE_DEVICES=", "ROCR_VISIBLE_DEVICES=-1"];
    for gpus in [nvidia(2), amd(2), Gpus::default(), uncountable()] {
        check(&[("GPU_COUNT", "0")], &gpus, &hidden, &[]);
    }
    check(
        &[("GPU_COUNT", "0"), ("CUDA_VISIBLE_DEVICES", "1"), ("HIP_VISIBLE_DEVICES", "1")],
        &amd(2),
        &hidden,
        &[],
    );
    check(
        &[("GPU_COUNT", "0"), ("CUDA_VISIBLE_DEVICES", ""), ("ROCR_VISIBLE_DEVICES", "-1")],
        &amd(2),
        &[],
        &[],
    );
}

#[test]
fn nvidia_gpus_are_exported_by_name_and_their_order_is_fixed() {
    check(
        &[("GPU_COUNT", "2")],
        &nvidia(3),
        &["CUDA_VISIBLE_DEVICES=GPU-a,GPU-b", "CUDA_DEVICE_ORDER=PCI_BUS_ID"],
        &[],
    );
    check(
        &[("GPU_COUNT", "1"), ("CUDA_DEVICE_ORDER", "FASTEST_FIRST")],
        &nvidia(3),
        &["CUDA_VISIBLE_DEVICES=GPU-a"],
        &[],
    );
}

#[test]
fn a_gpu_without_a_name_makes_the_list_numbers() {
    let mut gpus = nvidia(3);
    gpus.nvidia[1].uuid = None;
    check(&[("GPU_COUNT", "2")], &gpus, &["CUDA_VISIBLE_DEVICES=0,1", "CUDA_DEVICE_ORDER=PCI_BUS_ID"], &[]);
    check(&[("GPU_COUNT", "1")], &gpus, &["CUDA_VISIBLE_DEVICES=GPU-a", "CUDA_DEVICE_ORDER=PCI_BUS_ID"], &[]);
}

#[test]
fn a_list_of_the_user_is_cut_and_neither_replaced_nor_widened() {
    check(
        &[("GPU_COUNT", "1"), ("CUDA_VISIBLE_DEVICES", "2,0")],
        &nvidia(3),
        &["CUDA_VISIBLE_DEVICES=2"],
        &[],
    );
    check(&[("GPU_COUNT", "2"), ("CUDA_VISIBLE_DEVICES", "2")], &nvidia(3), &[], &[]);
    check(&[("GPU_COUNT", "2"), ("CUDA_VISIBLE_DEVICES", "")], &nvidia(3), &[], &[]);
    check(
        &[("GPU_COUNT", "1"), ("CUDA_VISIBLE_DEVICES", "MIG-x,MIG-y")],
        &Gpus { nvidia: vec![mig(2)], ..Gpus::default() },
        &["CUDA_VISIBLE_DEVICES=MIG-x"],
        &[],
    );
    check(
        &[("GPU_COUNT", "1"), ("CUDA_VISIBLE_DEVICES", "1,0")],
        &uncountable(),
        &["CUDA_VISIBLE_DEVICES=1"],
        &[],
    );
}

#[test]
fn applying_the_limit_twice_is_applying_it_once() {
    for gpus in [nvidia(3), amd(3), Gpus { amd: amd(3).amd, ..nvidia(3) }] {
        for count in ["0", "1", "2", "3"] {
            let mut env = env(&[("GPU_COUNT", count)]);
            for (name, value) in limit(&env, &gpus).variables {
                env.set(name, value);
            }
            assert_eq!(limit(&env, &gpus).variables, [], "GPU_COUNT={count} {env:?}");
        }
    }
}

#[test]
fn a_list_that_is_no_text_is_left_alone_and_reported() {
    let mut env = env(&[("GPU_COUNT", "1")]);
    env.set("CUDA_VISIBLE_DEVICES", OsString::from_vec(vec![b'0', 0xff]));
    let limit = limit(&env, &nvidia(2));
    assert_eq!(limit.variables, []);
    assert_eq!(
        limit.problems,
        [Problem::new("CUDA_VISIBLE_DEVICES", "the value is not UTF-8 text; not changed")]
    );
}

#[test]
fn amd_gpus_are_limited_by_one_variable() {
    check(&[("GPU_COUNT", "1")], &amd(2), &["ROCR_VISIBLE_DEVICES=0"], &[]);
    check(&[("GPU_COUNT", "1"), ("ROCR_VISIBLE_DEVICES", "1,0")], &amd(2), &["ROCR_VISIBLE_DEVICES=1"], &[]);
    check(&[("GPU_COUNT", "1"), ("HIP_VISIBLE_DEVICES", "1,0")], &amd(2), &["HIP_VISIBLE_DEVICES=1"], &[]);
    check(&[("GPU_COUNT", "1"), ("GPU_DEVICE_ORDINAL", "1,0")], &amd(2), &["GPU_DEVICE_ORDINAL=1"], &[]);
    check(&[("GPU_COUNT", "1"), ("CUDA_VISIBLE_DEVICES", "1,0")], &amd(2), &["CUDA_VISIBLE_DEVICES=1"], &[]);
    check(&[("GPU_COUNT", "1"), ("ROCR_VISIBLE_DEVICES", "")], &amd(2), &[], &[]);
}

#[test]
fn a_rocr_list_below_a_hip_list_is_not_cut_because_hip_counts_in_it() {
    check(
        &[("GPU_COUNT", "1"), ("ROCR_VISIBLE_DEVICES", "2,3"), ("HIP_VISIBLE_DEVICES", "1,0")],
        &amd(4),
        &["HIP_VISIBLE_DEVICES=1"],
        &[],
    );
    check(
        &[("GPU_COUNT", "1"), ("ROCR_VISIBLE_DEVICES", "2,3"), ("HIP_VISIBLE_DEVICES", "")],
        &amd(4),
        &["ROCR_VISIBLE_DEVICES=2"],
        &[],
    );
}

#[test]
fn hip_does_not_read_nvidia_names_where_both_vendors_are() {
    let both = Gpus { amd: amd(2).amd, ..nvidia(3) };
    check(
        &[("GPU_COUNT", "1")],
        &both,
        &["CUDA_VISIBLE_DEVICES=GPU-a", "CUDA_DEVICE_ORDER=PCI_BUS_ID", "HIP_VISIBLE_DEVICES=0"],
        &[],
    );
    check(
        &[("GPU_COUNT", "2")],
        &both,
        &["CUDA_VISIBLE_DEVICES=GPU-a,GPU-b", "CUDA_DEVICE_ORDER=PCI_BUS_ID", "HIP_VISIBLE_DEVICES=0,1"],
        &[],
    );
    let own = ("CUDA_VISIBLE_DEVICES", "2");
    check(&[("GPU_COUNT", "1"), own], &both, &["HIP_VISIBLE_DEVICES=0"], &[]);
    check(&[("GPU_COUNT", "2"), own], &both, &[], &[]);
    let more_amd = Gpus { amd: amd(3).amd, ..nvidia(1) };
    check(&[("GPU_COUNT", "1")], &more_amd, &["ROCR_VISIBLE_DEVICES=0"], &[]);
}

const KIND: &str = "DOCKER_RESOURCE_NVIDIA-GPU";

#[test]
fn gpus_that_swarm_reserves_are_exported_by_their_full_names() {
    let gpus = nvidia_named(&["GPU-aa11", "GPU-ab22", "GPU-b33"]);
    let list =
        |list: &str| [format!("CUDA_VISIBLE_DEVICES={list}"), "CUDA_DEVICE_ORDER=PCI_BUS_ID".to_owned()];
    for (pairs, exports, problems) in [
        (&[(KIND, "GPU-b33")][..], "GPU-b33", &[][..]),
        (&[(KIND, "GPU-b, GPU-aa"), ("DOCKER_RESOURCE_SSD", "2")], "GPU-b33,GPU-aa11", &[]),
        (&[(KIND, "GPU-b,GPU-b33,GPU-aa")], "GPU-b33,GPU-aa11", &[]),
        (&[(KIND, "GPU-b"), ("DOCKER_RESOURCE_A100", "GPU-aa11")], "GPU-aa11,GPU-b33", &[]),
        (&[(KIND, "GPU-b,GPU-aa"), ("GPU_COUNT", "1")], "GPU-b33", &[]),
        (&[(KIND, "GPU-b,GPU-aa"), ("GPU_COUNT", "3")], "GPU-b33,GPU-aa11", &[]),
        (&[(KIND, "MIG-x,GPU-b")], "MIG-x,GPU-b33", &[]),
        (
            &[(KIND, "GPU-a,GPU-b,GPU-c")],
            "GPU-b33",
            &[
                "\"GPU-a\" is the beginning of several names",
                "\"GPU-c\" is not a whole GPU of this container",
            ],
        ),
        (&[(KIND, "GPU-b,2")], "", &["\"2\" names no GPU (GPU-… or MIG-…)"]),
        (&[(KIND, "GPU-b,$(id)")], "", &["\"$(id)\" names no GPU (GPU-… or MIG-…)"]),
        (&[(KIND, "")], "", &["\"\" names no GPU (GPU-… or MIG-…)"]),
        (&[(KIND, "GPU-b,GPU-aa,GPU-ab")], "", &[]),
        (&[(KIND, "GPU-b"), ("CUDA_VISIBLE_DEVICES", "2,1")], "", &[]),
        (&[("DOCKER_RESOURCE_SSD", "2"), ("DOCKER_RESOURCE_", "GPU")], "", &[]),
    ] {
        let exports = if exports.is_empty() { Vec::new() } else { list(exports).to_vec() };
        let problems: Vec<_> = problems.iter().map(|problem| format!("{KIND}: {problem}; ignored")).collect();
        let exports: Vec<_> = exports.iter().map(String::as_str).collect();
        check(pairs, &gpus, &exports, &problems.iter().map(String::as_str).collect::<Vec<_>>());
    }
    check(
        &[(KIND, "GPU-b"), ("GPU_COUNT", "0")],
        &gpus,
        &["CUDA_VISIBLE_DEVICES=", "ROCR_VISIBLE_DEVICES=-1"],
        &[],
    );
}

#[test]
fn reserved_gpus_are_matched_with_those_that_are_there() {
    let swarm = |names| [("DOCKER_RESOURCE_GPU", names)];
    let ignored =
        |name| format!("DOCKER_RESOURCE_GPU: {name:?} is not a whole GPU of this container; ignored");
    check(&swarm("GPU-a"), &Gpus::default(), &[], &[&ignored("GPU-a")]);
    let mut mixed = nvidia(2);
    mixed.nvidia.push(mig(2));
    let order = "CUDA_DEVICE_ORDER=PCI_BUS_ID";
    check(
        &swarm("GPU-parent,GPU-a"),
        &mixed,
        &["CUDA_VISIBLE_DEVICES=GPU-a", order],
        &[&ignored("GPU-parent")],
    );
    check(&swarm("MIG-x,MIG-y,GPU-a"), &mixed, &["CUDA_VISIBLE_DEVICES=MIG-x,MIG-y,GPU-a", order], &[]);
    let mut unknown = nvidia(2);
    unknown.nvidia[0].uuid = None;
    check(&swarm("GPU-7af7"), &unknown, &["CUDA_VISIBLE_DEVICES=GPU-7af7", order], &[]);
    let both = Gpus { amd: amd(2).amd, ..nvidia(2) };
    check(&swarm("GPU-a"), &both, &["CUDA_VISIBLE_DEVICES=GPU-a", order, "HIP_VISIBLE_DEVICES=0,1"], &[]);
}

const UNNAMED: &str = "their names are unknown; set CUDA_VISIBLE_DEVICES to names printed by 'nvidia-smi -L'";

#[test]
fn the_name_of_a_gpu_in_mig_mode_is_never_exported() {
    let split = Gpus { nvidia: vec![mig(3)], ..Gpus::default() };
    check(&[("GPU_COUNT", "3")], &split, &[], &[]);
    check(
        &[("GPU_COUNT", "2")],
        &split,
        &[],
        &[&format!("GPU_COUNT: not applied to 3 MIG instance(s): {UNNAMED}")],
    );
    let empty = Gpus { nvidia: vec![mig(0)], ..Gpus::default() };
    check(&[("GPU_COUNT", "1")], &empty, &[], &[]);
}

#[test]
fn the_container_runtimes_list_gives_mig_names_if_it_fits_what_is_there() {
    let split = Gpus { nvidia: vec![mig(3)], ..Gpus::default() };
    check(
        &[("GPU_COUNT", "2"), ("NVIDIA_VISIBLE_DEVICES", "MIG-a,MIG-b,MIG-c")],
        &split,
        &["CUDA_VISIBLE_DEVICES=MIG-a,MIG-b", "CUDA_DEVICE_ORDER=PCI_BUS_ID"],
        &[],
    );
    for stale in ["MIG-a,MIG-b", "all", "void", "0:0,0:1,0:2", "GPU-a,MIG-b,MIG-c"] {
        check(
            &[("GPU_COUNT", "2"), ("NVIDIA_VISIBLE_DEVICES", stale)],
            &split,
            &[],
            &[&format!("GPU_COUNT: not applied to 3 MIG instance(s): {UNNAMED}")],
        );
    }
    check(
        &[("GPU_COUNT", "1"), ("NVIDIA_VISIBLE_DEVICES", "MIG-a,MIG-b")],
        &nvidia(1),
        &[],
        &[&format!("GPU_COUNT: not applied to 2 MIG instance(s): {UNNAMED}")],
    );
}

#[test]
fn whole_gpus_come_before_instances_that_have_no_name() {
    let mut mixed = nvidia(2);
    mixed.nvidia.insert(0, mig(2));
    check(
        &[("GPU_COUNT", "2")],
        &mixed,
        &["CUDA_VISIBLE_DEVICES=GPU-a,GPU-b", "CUDA_DEVICE_ORDER=PCI_BUS_ID"],
        &[],
    );
    check(
        &[("GPU_COUNT", "3")],
        &mixed,
        &["CUDA_VISIBLE_DEVICES=GPU-a,GPU-b", "CUDA_DEVICE_ORDER=PCI_BUS_ID"],
        &[&format!("GPU_COUNT: 2 whole GPU(s) are visible and 2 MIG instance(s) are not: {UNNAMED}")],
    );
    check(&[("GPU_COUNT", "4")], &mixed, &[], &[]);
}

#[test]
fn uncountable_gpus_are_reported_as_not_limited() {
    check(
        &[("GPU_COUNT", "1")],
        &uncountable(),
        &[],
        &[
            "GPU_COUNT: not applied: /dev/dxg does not report the number of GPUs; list them in CUDA_VISIBLE_DEVICES",
        ],
    );
    check(&[], &uncountable(), &[], &[]);
}
