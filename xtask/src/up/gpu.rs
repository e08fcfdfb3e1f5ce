//! GPUs of this machine for a container whose image can use them.

/// Device node that NVIDIA's driver creates when it is loaded.
const NVIDIA: &str = "/dev/nvidiactl";
/// Devices that AMD's documentation wants in a container.
const AMD: [&str; 2] = ["/dev/kfd", "/dev/dri"];

/// Options of `docker run` for an image's tag; a machine without the GPU gets none, and the container starts without.
pub fn arguments(tag: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    if tag.starts_with("cuda-") && exists(NVIDIA) {
        return vec!["--gpus".into(), "all".into()];
    }
    if tag.starts_with("rocm-") && AMD.iter().all(|node| exists(node)) {
        return AMD.iter().flat_map(|node| ["--device".into(), (*node).to_owned()]).collect();
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_gets_the_gpus_that_it_can_use_and_the_machine_has() {
        let everything = |_: &str| true;
        assert_eq!(arguments("cuda-12.1.1-base-22.04", everything), ["--gpus", "all"]);
        assert_eq!(
            arguments("rocm-7.2.4-core-24.04", everything),
            ["--device", "/dev/kfd", "--device", "/dev/dri"]
        );
        assert_eq!(arguments("cpu-22.04", everything), [""; 0]);
        assert_eq!(arguments("cuda-12.1.1-base-22.04", |_| false), [""; 0]);
        assert_eq!(arguments("rocm-7.2.4-core-24.04", |node| node == "/dev/dri"), [""; 0]);
    }
}
