//! The visible GPUs one by one, for programs that run once on each; a pure decision.

use kit::Env;

use crate::Gpus;
use crate::limit::{CUDA, CUDA_ORDER, HIP, MigNames, OPENCL, ROCR, WITHOUT_NAMES};
use crate::visible_devices;

/// One visible GPU or MIG instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its UUID, or its number where no UUID is known.
    pub label: String,
    /// Variables for a program that is to see this device alone; `None` is to be unset.
    pub variables: Vec<(String, Option<String>)>,
}

/// Returns each GPU that a program with this environment sees: one for each entry of a list of visible devices, or else
/// for each GPU found. Where both vendors' GPUs are, only those of NVIDIA. There are none if the container has none, or if
/// a list hides them. The error is one sentence for the user: GPUs are there or were asked for, and cannot be used.
pub fn devices(env: &Env, gpus: &Gpus) -> Result<Vec<Device>, String> {
    let is_nvidia = !gpus.nvidia.is_empty() || (gpus.amd.is_empty() && env.get(CUDA).is_some());
    let devices = if is_nvidia { nvidia(env, gpus)? } else { amd(env, gpus) };
    if !devices.is_empty() {
        return Ok(devices);
    }
    let lists: Vec<_> =
        [CUDA, ROCR, HIP].into_iter().filter_map(|name| Some((name, env.get(name)?))).collect();
    for (name, list) in &lists {
        let list = list.to_string_lossy();
        if visible_devices::is_unknown(&list) {
            return Err(format!("{name}={list} names no GPU"));
        }
    }
    if !lists.is_empty() {
        return Ok(devices);
    }
    if gpus.uncountable {
        return Err(
            "/dev/dxg does not report the number of GPUs; list them in CUDA_VISIBLE_DEVICES".to_owned()
        );
    }
    if gpus.unusable || !gpus.nvidia.is_empty() {
        return Err(format!("no GPU of this container can be used: {}", gpus.remarks.join("; ")));
    }
    Ok(devices)
}

fn nvidia(env: &Env, gpus: &Gpus) -> Result<Vec<Device>, String> {
    let device = |label: &str, more: &[(&str, &str)]| {
        let variables = [(CUDA, label)].into_iter().chain(more.iter().copied());
        let variables = variables.map(|(name, value)| (name.to_owned(), Some(value.to_owned())));
        Device { label: label.to_owned(), variables: variables.collect() }
    };
    if let Some(list) = env.get(CUDA) {
        let list = list.to_str().unwrap_or_default();
        return Ok(visible_devices::entries(list).into_iter().map(|entry| device(entry, &[])).collect());
    }
    let in_mig_mode: Vec<_> = gpus.nvidia.iter().filter_map(|gpu| gpu.mig.as_ref()).collect();
    let whole = gpus.nvidia.iter().filter(|gpu| gpu.mig.is_none());
    let uuids: Option<Vec<&str>> = whole.map(|gpu| gpu.uuid.as_deref()).collect();
    let given = MigNames::read(env);
    let instances: usize = in_mig_mode.iter().map(|mig| mig.instances.len()).sum();
    let has_mig = !in_mig_mode.is_empty() || given.mentioned > 0;
    match uuids {
        Some(uuids) if !has_mig || (!in_mig_mode.is_empty() && given.names.len() == instances) => {
            let names = uuids.into_iter().chain(given.names.iter().map(String::as_str));
            Ok(names.map(|name| device(name, &[])).collect())
        }
        None if !has_mig => {
            let order = env.text(CUDA_ORDER).is_none().then_some((CUDA_ORDER, "PCI_BUS_ID"));
            Ok((0..gpus.nvidia.len()).map(|index| device(&index.to_string(), order.as_slice())).collect())
        }
        _ => Err(format!("GPUs or MIG instances cannot be pinned: {WITHOUT_NAMES}")),
    }
}

/// HIP reads its own list, else that of CUDA; it numbers what `ROCr` left over.
fn amd(env: &Env, gpus: &Gpus) -> Vec<Device> {
    let list = |name| env.get(name).map(|list| visible_devices::entries(list.to_str().unwrap_or_default()));
    let lowest = list(ROCR);
    if lowest.as_ref().is_some_and(Vec::is_empty) {
        return Vec::new();
    }
    let upper =
        [HIP, CUDA, OPENCL].into_iter().find(|name| env.get(name).is_some_and(|list| !list.is_empty()));
    let (name, entries) = match upper {
        Some(name) => (name, list(name)),
        None => (ROCR, lowest),
    };
    let numbers: Vec<String> = (0..gpus.amd.len()).map(|index| index.to_string()).collect();
    let entries = entries.unwrap_or_else(|| numbers.iter().map(String::as_str).collect());
    // Frameworks read these lists too, and refuse one that differs.
    let others = [HIP, CUDA].into_iter().filter(|other| *other != name && env.get(other).is_some());
    let others: Vec<_> = others.map(|other| (other.to_owned(), None)).collect();
    let device = |entry: &str| Device {
        label: entry.to_owned(),
        variables: [(name.to_owned(), Some(entry.to_owned()))].into_iter().chain(others.clone()).collect(),
    };
    entries.into_iter().map(device).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::tests::{amd, env, mig, nvidia, uncountable};

    /// Each device as its variables, those to be unset with a leading `!`; or the error.
    fn pins(pairs: &[(&str, &str)], gpus: &Gpus) -> Vec<String> {
        let pin = |(name, value): (String, Option<String>)| match value {
            Some(value) => format!("{name}={value}"),
            None => format!("!{name}"),
        };
        match devices(&env(pairs), gpus) {
            Ok(devices) => devices
                .into_iter()
                .map(|device| device.variables.into_iter().map(pin).collect::<Vec<_>>().join(" "))
                .collect(),
            Err(reason) => vec![reason],
        }
    }

    #[test]
    fn each_visible_gpu_is_one_device() {
        let mut unnamed = nvidia(2);
        unnamed.nvidia[1].uuid = None;
        let both = Gpus { amd: amd(2).amd, ..nvidia(1) };
        let unusable = Gpus { unusable: true, remarks: vec!["a".into(), "b".into()], ..Gpus::default() };
        for (pairs, gpus, expected) in [
            (&[][..], nvidia(2), &["CUDA_VISIBLE_DEVICES=GPU-a", "CUDA_VISIBLE_DEVICES=GPU-b"][..]),
            (
                &[("CUDA_VISIBLE_DEVICES", "2, MIG-x,-1,0")],
                nvidia(3),
                &["CUDA_VISIBLE_DEVICES=2", "CUDA_VISIBLE_DEVICES=MIG-x"],
            ),
            (
                &[("CUDA_VISIBLE_DEVICES", "0,1")],
                Gpus::default(),
                &["CUDA_VISIBLE_DEVICES=0", "CUDA_VISIBLE_DEVICES=1"],
            ),
            (&[("CUDA_VISIBLE_DEVICES", "")], nvidia(2), &[]),
            (&[("CUDA_VISIBLE_DEVICES", "-1")], nvidia(2), &[]),
            (&[("CUDA_VISIBLE_DEVICES", "gpu0")], nvidia(2), &["CUDA_VISIBLE_DEVICES=gpu0 names no GPU"]),
            (
                &[],
                unnamed.clone(),
                &[
                    "CUDA_VISIBLE_DEVICES=0 CUDA_DEVICE_ORDER=PCI_BUS_ID",
                    "CUDA_VISIBLE_DEVICES=1 CUDA_DEVICE_ORDER=PCI_BUS_ID",
                ],
            ),
            (
                &[("CUDA_DEVICE_ORDER", "FASTEST_FIRST")],
                unnamed,
                &["CUDA_VISIBLE_DEVICES=0", "CUDA_VISIBLE_DEVICES=1"],
            ),
            (&[("HIP_VISIBLE_DEVICES", "1")], both, &["CUDA_VISIBLE_DEVICES=GPU-a"]),
            (&[], amd(2), &["ROCR_VISIBLE_DEVICES=0", "ROCR_VISIBLE_DEVICES=1"]),
            (&[("ROCR_VISIBLE_DEVICES", "1")], amd(2), &["ROCR_VISIBLE_DEVICES=1"]),
            (&[("ROCR_VISIBLE_DEVICES", "-1"), ("HIP_VISIBLE_DEVICES", "1")], amd(2), &[]),
            (&[("ROCR_VISIBLE_DEVICES", "all")], amd(2), &["ROCR_VISIBLE_DEVICES=all names no GPU"]),
            (
                &[
                    ("ROCR_VISIBLE_DEVICES", "1,2"),
                    ("HIP_VISIBLE_DEVICES", "1"),
                    ("CUDA_VISIBLE_DEVICES", "1"),
                ],
                amd(3),
                &["HIP_VISIBLE_DEVICES=1 !CUDA_VISIBLE_DEVICES"],
            ),
            (&[("CUDA_VISIBLE_DEVICES", "1")], amd(2), &["CUDA_VISIBLE_DEVICES=1"]),
            (&[("HIP_VISIBLE_DEVICES", "")], amd(1), &["ROCR_VISIBLE_DEVICES=0 !HIP_VISIBLE_DEVICES"]),
            (&[], Gpus::default(), &[]),
            (&[], unusable.clone(), &["no GPU of this container can be used: a; b"]),
            (&[("CUDA_VISIBLE_DEVICES", ""), ("ROCR_VISIBLE_DEVICES", "-1")], unusable, &[]),
            (
                &[],
                uncountable(),
                &["/dev/dxg does not report the number of GPUs; list them in CUDA_VISIBLE_DEVICES"],
            ),
        ] {
            assert_eq!(pins(pairs, &gpus), expected, "{pairs:?}");
        }
        assert_eq!(devices(&env(&[]), &nvidia(1)).unwrap()[0].label, "GPU-a");
    }

    #[test]
    fn a_mig_instance_needs_a_name() {
        let refusal = format!("GPUs or MIG instances cannot be pinned: {WITHOUT_NAMES}");
        let mut mixed = nvidia(1);
        mixed.nvidia.push(mig(2));
        let named =
            ["CUDA_VISIBLE_DEVICES=GPU-a", "CUDA_VISIBLE_DEVICES=MIG-x", "CUDA_VISIBLE_DEVICES=MIG-y"];
        assert_eq!(pins(&[("NVIDIA_VISIBLE_DEVICES", "MIG-x,MIG-y")], &mixed), named);
        assert_eq!(pins(&[("NVIDIA_VISIBLE_DEVICES", "MIG-x")], &mixed), [refusal.as_str()]);
        assert_eq!(pins(&[("NVIDIA_VISIBLE_DEVICES", "all")], &mixed), [refusal.as_str()]);
        assert_eq!(pins(&[("NVIDIA_VISIBLE_DEVICES", "MIG-x")], &nvidia(1)), [refusal]);
        let without_instance = Gpus { nvidia: vec![mig(0)], remarks: vec!["c".into()], ..Gpus::default() };
        assert_eq!(pins(&[], &without_instance), ["no GPU of this container can be used: c"]);
    }
}
