use super::*;

fn catalogue() -> Catalogue {
    Catalogue::from_print_json(include_str!("../fixtures/print.json")).unwrap()
}

/// A catalogue with these tags and nothing else.
fn of_tags(tags: &[&str]) -> Catalogue {
    let target = |tag: &&str| {
        format!(r#""{}":{{"args":{{"IMAGE_BASE":"base"}},"tags":["image:{tag}"]}}"#, tag.replace('.', "_"))
    };
    let targets: Vec<_> = tags.iter().map(target).collect();
    Catalogue::from_print_json(&format!(r#"{{"target":{{{}}}}}"#, targets.join(","))).unwrap()
}

/// The whole answer as a user sees it: the tag, or what is wrong and the hint.
fn answer(catalogue: &Catalogue, request: &str) -> String {
    match resolve(catalogue, request) {
        Ok(variant) => variant.name.clone(),
        Err(refusal) => format!("{refusal}\nhint: {}", refusal.hint()),
    }
}

#[track_caller]
fn check(table: &[(&str, &str)]) {
    let catalogue = catalogue();
    for (request, expected) in table {
        assert_eq!(answer(&catalogue, request), *expected, "{request:?}");
    }
}

#[test]
fn each_spelling_of_a_variant_finds_it() {
    check(&[
        ("cuda-12.1.1-runtime-22.04", "cuda-12.1.1-runtime-22.04"),
        ("cuda-12_1_1-runtime-22_04", "cuda-12.1.1-runtime-22.04"),
        ("cuda-12.1-runtime-22.04", "cuda-12.1.1-runtime-22.04"),
        ("cuda-12_1-runtime-22_04", "cuda-12.1.1-runtime-22.04"),
        ("CUDA-12.1-CUDNN-Runtime-22.04", "cuda-12.1.1-cudnn8-runtime-22.04"),
        ("cuda-12.9-cudnn-devel-24.04", "cuda-12.9.2-cudnn9-devel-24.04"),
        ("cuda-12.9-cudnn9-devel-24.04", "cuda-12.9.2-cudnn9-devel-24.04"),
        ("leonardo/base-image:rocm-7.2-core-24.04", "rocm-7.2.4-core-24.04"),
        ("localhost:5000/team/base-image:cpu-24.04", "cpu-24.04"),
        ("cpu-debian-12", "cpu-debian-12"),
        (" cuda-13.3-base-26.04\n", "cuda-13.3.1-base-26.04"),
        ("cuda-12.1-runtime", "cuda-12.1.1-runtime-22.04"),
        ("cuda-12.1.1-b*", "cuda-12.1.1-base-22.04"),
        ("jupyter-cuda-12.8-runtime-22.04", "jupyter-cuda-12.8.1-runtime-22.04"),
        ("Jupyter-cpu-debian-12", "jupyter-cpu-debian-12"),
        ("host:5000/leonardo/jupyter:rocm-7-24.04", "jupyter-rocm-7.2.4-runtime-24.04"),
    ]);
}

#[test]
fn an_ambiguous_request_names_the_candidates() {
    check(&[
        (
            "cuda-12-base-22.04",
            "\"cuda-12-base-22.04\" is ambiguous\nhint: choose one of: cuda-12.1.1-base-22.04, \
             cuda-12.4.1-base-22.04, cuda-12.6.3-base-22.04, cuda-12.8.1-base-22.04, cuda-12.9.2-base-22.04",
        ),
        (
            "cuda-12.1-22.04",
            "\"cuda-12.1-22.04\" is ambiguous\nhint: choose one of: cuda-12.1.1-base-22.04, \
             cuda-12.1.1-devel-22.04, cuda-12.1.1-runtime-22.04",
        ),
        (
            "cuda-12.1-cudnn-22.04",
            "\"cuda-12.1-cudnn-22.04\" is ambiguous\nhint: choose one of: \
             cuda-12.1.1-cudnn8-devel-22.04, cuda-12.1.1-cudnn8-runtime-22.04",
        ),
        (
            "cuda-12.6-runtime",
            "\"cuda-12.6-runtime\" is ambiguous\nhint: choose one of: cuda-12.6.3-runtime-22.04, \
             cuda-12.6.3-runtime-24.04",
        ),
        ("cpu", "\"cpu\" is ambiguous\nhint: choose one of: cpu-22.04, cpu-24.04, cpu-debian-12"),
        (
            "jupyter-cpu",
            "\"jupyter-cpu\" is ambiguous\nhint: choose one of: jupyter-cpu-22.04, jupyter-cpu-24.04, \
             jupyter-cpu-debian-12",
        ),
    ]);
}

#[test]
fn an_unknown_request_names_the_part_that_does_not_exist() {
    check(&[
        (
            "cuda-12.7-runtime-24.04",
            "no variant \"cuda-12.7-runtime-24.04\": cuda 12.7 is not listed\nhint: there is \
             cuda-12.6.3-runtime-24.04, cuda-12.8.1-runtime-24.04, cuda-12.9.2-runtime-24.04, \
             cuda-13.0.3-runtime-24.04, cuda-13.3.1-runtime-24.04",
        ),
        (
            "cuda-12.1.0-runtime-22.04",
            "no variant \"cuda-12.1.0-runtime-22.04\": cuda 12.1.0 is not listed\nhint: there is \
             cuda-12.1.1-runtime-22.04",
        ),
        (
            "cuda-12.1-runtime-24.04",
            "no variant \"cuda-12.1-runtime-24.04\": cuda 12.1 is not built on 24.04\nhint: there is \
             cuda-12.1.1-runtime-22.04",
        ),
        (
            "cuda-12.1.1-runtime-ubuntu22.04",
            "no variant \"cuda-12.1.1-runtime-ubuntu22.04\": nothing of cuda is built on ubuntu22.04\nhint: there \
             is cuda-12.1.1-runtime-22.04",
        ),
        (
            "cuda-12.1-cudnn9-runtime-22.04",
            "no variant \"cuda-12.1-cudnn9-runtime-22.04\": cuda 12.1 does not come with cudnn9\nhint: there is \
             cuda-12.1.1-cudnn8-runtime-22.04",
        ),
        (
            "cuda-12.1-cudnn-base-22.04",
            "no variant \"cuda-12.1-cudnn-base-22.04\": a base image with cuDNN does not exist, cuDNN comes with \
             devel, runtime\nhint: there is cuda-12.1.1-base-22.04, cuda-12.1.1-cudnn8-devel-22.04, \
             cuda-12.1.1-cudnn8-runtime-22.04",
        ),
        (
            "rocm-6.2.4-base-22.04",
            "no variant \"rocm-6.2.4-base-22.04\": rocm has no flavour base, only core, devel, runtime\nhint: there \
             is rocm-6.2.4-core-22.04, rocm-6.2.4-devel-22.04, rocm-6.2.4-runtime-22.04",
        ),
        (
            "rocm-6.2-cudnn-runtime-22.04",
            "no variant \"rocm-6.2-cudnn-runtime-22.04\": rocm has no variants with cuDNN\nhint: there is \
             rocm-6.2.4-runtime-22.04",
        ),
        (
            "cpu-runtime-22.04",
            "no variant \"cpu-runtime-22.04\": cpu has no flavours, so no runtime\nhint: there is cpu-22.04",
        ),
        (
            "cpu-debian-13",
            "no variant \"cpu-debian-13\": nothing of cpu is built on debian-13\nhint: there is cpu-22.04, \
             cpu-24.04, cpu-debian-12",
        ),
        (
            "latest",
            "no variant \"latest\": a variant's name begins with cpu, cuda, rocm, comfyui, jupyter, not with latest\nhint: run: \
             cargo xtask bake --list",
        ),
        (
            "jupyter:latest",
            "no variant \"jupyter:latest\": a variant's name begins with jupyter-cpu, jupyter-cuda, jupyter-rocm, not \
             with jupyter-latest\nhint: run: cargo xtask bake --list",
        ),
        (
            "jupyter-cuda-12.1-runtime-22.04",
            "no variant \"jupyter-cuda-12.1-runtime-22.04\": jupyter-cuda 12.1 is not listed\nhint: there is \
             jupyter-cuda-12.8.1-runtime-22.04",
        ),
        (
            "ghcr.io/nvidia/cuda:cpu-24.04",
            "no variant \"ghcr.io/nvidia/cuda:cpu-24.04\": the images are base-image, comfyui, jupyter, not cuda\n\
             hint: run: cargo xtask bake --list",
        ),
        (
            "leonardo/jupiter:cpu",
            "no variant \"leonardo/jupiter:cpu\": the images are base-image, comfyui, jupyter, not jupiter\n\
             hint: run: cargo xtask bake --list",
        ),
        ("cuda-99*", "no variant \"cuda-99*\": nothing fits the pattern\nhint: run: cargo xtask bake --list"),
    ]);
}

#[test]
fn no_word_of_a_request_is_dropped() {
    let catalogue = catalogue();
    for request in [
        "cuda-12.1-runtime-22.04-extra",
        "cuda-12.1-runtime-devel-22.04",
        "cuda-12.1-12.4-runtime-22.04",
        "cuda-22.04-runtime-12.1",
        "cuda-12.1-cudnn-cudnn8-runtime-22.04",
        "cuda-12.1-runtime-22.04-22.04",
        "cpu-12.1-22.04",
        "cuda-12.7-full-20.04",
    ] {
        assert!(matches!(resolve(&catalogue, request), Err(RequestError::Unknown { .. })), "{request}");
    }
}

#[test]
fn what_is_no_name_at_all_is_a_usage_error() {
    let list = "\nhint: run: cargo xtask bake --list";
    check(&[
        ("", &format!("\"\" is not a variant: it is empty{list}")),
        (" \t", &format!("\" \\t\" is not a variant: it is empty{list}")),
        ("--push", &format!("\"--push\" is not a variant: it begins with a dash, as options do{list}")),
        ("x:-a", &format!("\"x:-a\" is not a variant: its tag begins with a dash{list}")),
        ("x:", &format!("\"x:\" is not a variant: it is empty{list}")),
        ("host:5000/x", &format!("\"host:5000/x\" is not a variant: the image reference has no tag{list}")),
        (
            "x@sha256:1",
            &format!("\"x@sha256:1\" is not a variant: a digest names an image that is built already{list}"),
        ),
        (
            "cuda--12.1",
            &format!(
                "\"cuda--12.1\" is not a variant: there is nothing between two dashes or behind the last{list}"
            ),
        ),
    ]);
    let refused = resolve(&catalogue(), "--push").unwrap_err();
    assert!(matches!(refused, RequestError::Usage { .. }));
}

#[test]
fn the_newest_patch_is_found_by_number_and_a_full_tag_is_itself() {
    let tags =
        ["cuda-12.1.9-base-22.04", "cuda-12.1.10-base-22.04", "rocm-7.2-core-24.04", "rocm-7.2.4-core-24.04"];
    let catalogue = of_tags(&tags);
    assert_eq!(answer(&catalogue, "cuda-12.1-base-22.04"), "cuda-12.1.10-base-22.04");
    assert_eq!(answer(&catalogue, "cuda-12.1.9-base-22.04"), "cuda-12.1.9-base-22.04");
    assert_eq!(answer(&catalogue, "rocm-7.2-core-24.04"), "rocm-7.2-core-24.04", "AMD's name of 7.2.0");
    assert_eq!(answer(&catalogue, "image:rocm-7-core-24.04"), "rocm-7.2.4-core-24.04");
}

#[test]
fn a_selection_spreads_patterns_and_groups_and_has_nothing_twice() {
    let catalogue = catalogue();
    let selected = |requests: &[&str]| {
        let requests: Vec<String> = requests.iter().map(ToString::to_string).collect();
        let variants = select(&catalogue, &requests);
        variants.map(|variants| variants.iter().map(|variant| variant.target.clone()).collect::<Vec<_>>())
    };
    assert_eq!(
        selected(&["cuda-12.1-base-22.04", "cuda-12_1*", "CPU", "cpu-22.04"]).unwrap(),
        [
            "cuda-12_1_1-base-22_04",
            "cuda-12_1_1-devel-22_04",
            "cuda-12_1_1-runtime-22_04",
            "cuda-12_1_1-cudnn8-devel-22_04",
            "cuda-12_1_1-cudnn8-runtime-22_04",
            "cpu-22_04",
            "cpu-24_04",
            "cpu-debian-12",
        ]
    );
    let groups = ["all", "cpu", "cuda", "rocm", "extended", "jupyter", "comfyui"];
    assert_eq!(groups.map(|group| selected(&[group]).unwrap().len()), [86, 3, 65, 18, 11, 6, 5]);
    assert_eq!(
        selected(&["cpu-22.04", "cuda-99*"]).unwrap_err().to_string(),
        "no variant \"cuda-99*\": nothing fits the pattern",
        "one bad request stops all"
    );
}

#[test]
fn sources_in_git_are_pinned_by_commit() {
    let bake_file = include_str!("../../../../docker-bake.hcl");
    let references: Vec<_> =
        bake_file.split(".git#").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(!references.is_empty());
    for reference in references {
        let is_commit = reference.len() == 40 && reference.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(is_commit, "{reference} can be moved");
    }
}
