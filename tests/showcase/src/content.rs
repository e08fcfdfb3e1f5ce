//! Files of the container: programs that work, start and fail, and a script that provisions it.

/// Each file, and its path in the container.
pub const FILES: &[(&str, &str)] = &[
    (include_str!("../content/provisioning.sh"), "/opt/leonardo/bin/provisioning.sh"),
    (include_str!("../content/notebook.py"), "/opt/showcase/notebook.py"),
    (include_str!("../content/studio.py"), "/opt/showcase/studio.py"),
    (include_str!("../content/trainer.py"), "/opt/showcase/trainer.py"),
    (include_str!("../content/notebook.conf"), "/etc/supervisor/conf.d/notebook.conf"),
    (include_str!("../content/studio.conf"), "/etc/supervisor/conf.d/studio.conf"),
    (include_str!("../content/trainer.conf"), "/etc/supervisor/conf.d/trainer.conf"),
];

/// Status file of the quick tunnels, as `tunnel-run` writes it: one for the portal, one for a service.
pub fn quick_tunnels() -> String {
    let tunnel = |port: u16, name: &str| {
        serde_json::json!({
            "port": port, "state": "open", "url": format!("https://{name}.trycloudflare.com"),
            "cause": null, "detail": null, "retry_at": null,
        })
    };
    let tunnels = [tunnel(1111, "quiet-harbor-lamp-cedar"), tunnel(8888, "amber-field-river-stone")];
    serde_json::json!({"is_opening": false, "cause": null, "detail": null, "tunnels": tunnels}).to_string()
}
