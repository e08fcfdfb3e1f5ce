//! Generation of the Caddyfile from templates and services.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use kit::ReadPolicy;
use ports::{Instance, Phase, Service, Status};
use serde::{Deserialize, Serialize};

use crate::placeholders::{ADMIN, PORTAL, PROXY_PORT, Placeholders, REDIRECT_TO_HTTPS, TLS};
use crate::settings::Settings;

const BASE: &str = "base_config";
const SERVICE: &str = "service_config";

/// Maximum size of a template, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Contents of the templates, which users can edit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Templates {
    base: String,
    service: String,
    /// Templates of single services, by `listen_port`.
    own: BTreeMap<u16, String>,
}

/// A generated configuration, with the origin of each line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// The Caddyfile.
    pub text: String,
    /// Template name and line number (from 1) of each line.
    origins: Vec<(String, usize)>,
}

impl Templates {
    /// Reads `base_config`, `service_config` and every `service_config_<listen_port>` from a directory.
    pub fn read(directory: &Path) -> Result<Self> {
        Ok(Self {
            base: read_template(&directory.join(BASE))?,
            service: read_template(&directory.join(SERVICE))?,
            own: read_own(directory)?,
        })
    }

    /// Returns a problem if a template has no directive that these settings require; Caddy would accept it without.
    pub fn missing_directive(&self, settings: &Settings) -> Option<String> {
        let https = settings.certificate.is_some();
        let of_https = [REDIRECT_TO_HTTPS, TLS].into_iter().filter(|_| https);
        let base =
            [ADMIN, PORTAL].into_iter().chain(of_https).map(|word| (BASE.to_owned(), &self.base, word));
        let services = self.service_templates().flat_map(|(name, template)| {
            [Some(PROXY_PORT), https.then_some(TLS)]
                .into_iter()
                .flatten()
                .map(move |word| (name.clone(), template, word))
        });
        base.chain(services)
            .find(|(_, template, word)| !statements(template).any(|line| uses(line, word)))
            .map(|(name, _, word)| format!("{name}: `{word}` is missing"))
    }

    /// Returns the templates without those of single services; `None` if there are none.
    pub fn without_overrides(&self) -> Option<Self> {
        (!self.own.is_empty()).then(|| Self { own: BTreeMap::new(), ..self.clone() })
    }

    /// Generates the configuration; a service with its own template uses that.
    pub fn render(&self, settings: &Settings, services: &[Service]) -> Configuration {
        let mut configuration = Configuration { text: String::new(), origins: Vec::new() };
        configuration.add(BASE, &self.base, &Placeholders::for_base(settings));
        for service in services {
            configuration.add_empty_line();
            let words = Placeholders::for_service(settings, service);
            match self.own.get(&service.listen_port) {
                Some(own) => configuration.add(&own_name(service.listen_port), own, &words),
                None => configuration.add(SERVICE, &self.service, &words),
            }
        }
        configuration
    }

    /// Returns a service for each template and one with two instances, to validate all of them.
    pub fn sample_services(&self) -> Vec<Service> {
        let mut free = 10_001..u16::MAX;
        let mut next = || free.find(|port| !self.own.contains_key(port)).unwrap_or(10_000);
        let default = next();
        let listen_ports: Vec<u16> = self.own.keys().copied().chain([default]).collect();
        let mut samples: Vec<Service> =
            listen_ports.into_iter().map(|listen_port| sample_service(listen_port, next())).collect();
        let instances = [next(), next()];
        samples.push(balanced(
            sample_service(instances[0], next()),
            &instances.map(|port| (port, Phase::Running)),
        ));
        samples
    }

    fn service_templates(&self) -> impl Iterator<Item = (String, &String)> {
        let own = self.own.iter().map(|(&port, template)| (own_name(port), template));
        std::iter::once((SERVICE.to_owned(), &self.service)).chain(own)
    }
}

impl Configuration {
    /// Returns template name and line number for a line of the Caddyfile; lines are counted from 1.
    pub fn source_line(&self, line: usize) -> Option<(&str, usize)> {
        let (name, line) = self.origins.get(line.checked_sub(1)?)?;
        Some((name, *line))
    }

    fn add(&mut self, name: &str, template: &str, words: &Placeholders) {
        for (index, line) in template.lines().enumerate() {
            // Placeholders in comments stay, because a value of several lines would leave the comment.
            let expanded = if is_comment(line) { line.to_owned() } else { words.expand(line) };
            // An empty value must not leave a line of blanks, about which Caddy would warn.
            if expanded.trim().is_empty() && !line.trim().is_empty() {
                continue;
            }
            self.origins.extend(expanded.split('\n').map(|_| (name.to_owned(), index + 1)));
            self.text.push_str(&expanded);
            self.text.push('\n');
        }
    }

    fn add_empty_line(&mut self) {
        self.text.push('\n');
        self.origins.push((SERVICE.to_owned(), 1));
    }
}

/// Returns the lines that are not comments.
fn statements(template: &str) -> impl Iterator<Item = &str> {
    template.lines().filter(|line| !is_comment(line))
}

/// True if a line contains `wanted`: a placeholder, a directive with its value, or the end of an address.
fn uses(line: &str, wanted: &str) -> bool {
    let words: Vec<&str> = line
        .split_whitespace()
        .take_while(|word| !word.starts_with('#'))
        .map(|word| word.trim_matches(['"', '`', ',', '{']))
        .collect();
    match wanted.split_once(' ') {
        Some((directive, value)) => words.windows(2).any(|pair| pair == [directive, value]),
        None if wanted.starts_with('%') => line.contains(wanted),
        None => words.iter().any(|word| word.ends_with(wanted)),
    }
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

fn own_name(listen_port: u16) -> String {
    format!("{SERVICE}_{listen_port}")
}

/// Reads the templates of single services.
fn read_own(directory: &Path) -> Result<BTreeMap<u16, String>> {
    let cannot = || format!("cannot read {}", directory.display());
    let mut own = BTreeMap::new();
    for entry in fs::read_dir(directory).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        let name = entry.file_name();
        let port = name.to_str().and_then(|name| name.strip_prefix("service_config_"));
        // Only the canonical name counts, because editors leave copies behind.
        if let Some(port) = port.and_then(|port| port.parse().ok())
            && name.to_str() == Some(own_name(port).as_str())
        {
            own.insert(port, read_template(&entry.path())?);
        }
    }
    Ok(own)
}

fn sample_service(listen_port: u16, proxy_port: u16) -> Service {
    Service { service_name: "Example".into(), listen_port, proxy_port, ..Service::default() }
}

fn balanced(service: Service, instances: &[(u16, Phase)]) -> Service {
    let instance = |&(listen_port, phase)| {
        let status = Status { phase, since: 0, cause: None };
        Instance { listen_port, label: "Example".into(), status }
    };
    Service { instances: instances.iter().map(instance).collect(), ..service }
}

fn read_template(path: &Path) -> Result<String> {
    let bytes = ReadPolicy::max_size(MAX_BYTES).read(path)?;
    String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(proxy_port: u16, proxy_secure: bool) -> Service {
        Service {
            service_name: "%LISTEN_PORT% {\n:6666 {}".into(),
            proxy_secure,
            service_url: "/}".into(),
            ..sample_service(proxy_port + 10_000, proxy_port)
        }
    }

    fn templates(base: &str, service: &str, own: &[(u16, &str)]) -> Templates {
        let own = own.iter().map(|&(port, text)| (port, text.to_owned())).collect();
        Templates { base: base.into(), service: service.into(), own }
    }

    #[test]
    fn only_ports_and_the_name_of_the_gate_are_inserted() {
        let templates =
            templates("BASE\n", ":%PROXY_PORT% %GATE% %LISTEN_PORT%\n", &[(13000, "own :%PROXY_PORT%\n")]);
        let services = [service(3000, true), service(8188, true), service(8888, false)];
        assert_eq!(
            templates.render(&Settings::default(), &services).text,
            "BASE\n\nown :3000\n\n:8188 gate 18188\n\n:8888 open 18888\n"
        );
    }

    #[test]
    fn running_instances_are_balanced_with_a_cookie() {
        use Phase::{Failed, Running, Starting, Waiting};
        let templates = templates("", "to %UPSTREAMS% first %LISTEN_PORT%\n%BALANCE%\n", &[]);
        let text = |phases: &[Phase]| {
            let instances: Vec<_> = (18188..).zip(phases.iter().copied()).collect();
            let service = balanced(service(8188, true), &instances);
            templates.render(&Settings::default(), &[service]).text.trim_start().to_owned()
        };
        let cookie = "lb_policy cookie instance_8188 {\n\t\t\t\tfallback least_conn\n\t\t\t}\n\t\t\tlb_retries 50\n\
             \t\t\tlb_try_duration 5s\n\t\t\tlb_try_interval 20ms\n\t\t\tfail_duration 2s\n";
        assert_eq!(text(&[]), "to 127.0.0.1:18188 first 18188\n");
        assert_eq!(text(&[Starting, Running, Failed]), "to 127.0.0.1:18189 first 18188\n");
        assert_eq!(
            text(&[Running, Starting, Running]),
            format!("to 127.0.0.1:18188 127.0.0.1:18190 first 18188\n{cookie}")
        );
        // None can be used: the page in their place needs one that is asked.
        assert_eq!(
            text(&[Failed, Waiting]),
            format!("to 127.0.0.1:18188 127.0.0.1:18189 first 18188\n{cookie}")
        );
    }

    #[test]
    fn each_line_has_its_template_and_line_number() {
        let templates = templates("one\n\nthree\n", ":%PROXY_PORT%\nx\n", &[(13000, ":%PROXY_PORT%\ny\n")]);
        let configuration =
            templates.render(&Settings::default(), &[service(3000, true), service(4000, true)]);
        let found = |text: &str| {
            let line = configuration.text.lines().position(|line| line == text).map(|index| index + 1);
            line.and_then(|line| configuration.source_line(line)).map(|(name, line)| format!("{name}:{line}"))
        };
        assert_eq!(
            ["three", ":3000", "y", ":4000", "x"].map(|text| found(text).unwrap_or_default()),
            [
                "base_config:3",
                "service_config_13000:1",
                "service_config_13000:2",
                "service_config:1",
                "service_config:2"
            ]
        );
        assert_eq!((configuration.source_line(0), configuration.source_line(100)), (None, None));
    }

    #[test]
    fn templates_are_read_by_exact_names() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        let read = || Templates::read(dir.path()).map_err(|error| format!("{error:#}"));
        let missing = format!(
            "cannot read {}/base_config: No such file or directory (os error 2)",
            dir.path().display()
        );
        assert_eq!(read(), Err(missing));
        write("base_config", "B");
        write("service_config", "S");
        for other in [
            "service_config_",
            "service_config_1~",
            "service_config_+1",
            "service_config_01",
            "service_config_99999",
        ] {
            write(other, "other");
        }
        write("service_config_7", "own");
        assert_eq!(read(), Ok(templates("B", "S", &[(7, "own")])));
    }

    fn https() -> Settings {
        Settings { certificate: Some("/p.pem".into()), ..Settings::default() }
    }

    #[test]
    fn a_template_without_a_directive_for_https_is_reported() {
        let base = "# %REDIRECT_TO_HTTPS% and %TLS%\n{\nadmin unix//run/caddy/admin.sock\nprotocols %PROTOCOLS%\n%REDIRECT_TO_HTTPS%\n}\n\
                    :1111 {\n%TLS%\n}\n";
        let all = templates(base, ":%PROXY_PORT% {\n%TLS%\n}\n", &[]);
        let text = |settings: &Settings| all.render(settings, &[service(3000, true)]).text;
        assert_eq!(
            text(&https()),
            "# %REDIRECT_TO_HTTPS% and %TLS%\n{\nadmin unix//run/caddy/admin.sock\nprotocols h1 h2\nlistener_wrappers {\n\t\t\thttp_redirect\n\t\t\ttls\n\t\t}\n}\n\
             :1111 {\ntls /p.pem /p.pem\n}\n\n:3000 {\ntls /p.pem /p.pem\n}\n"
        );
        assert_eq!(
            text(&Settings::default()),
            "# %REDIRECT_TO_HTTPS% and %TLS%\n{\nadmin unix//run/caddy/admin.sock\nprotocols h1\n}\n:1111 \
             {\n}\n\n:3000 {\n}\n"
        );
        assert_eq!(
            (all.missing_directive(&https()), all.missing_directive(&Settings::default())),
            (None, None)
        );
        for (base, problem) in [
            ("", "base_config: `admin unix//run/caddy/admin.sock` is missing"),
            ("# :1111\nadmin unix//run/caddy/admin.sock", "base_config: `:1111` is missing"),
            ("admin unix//run/caddy/admin.sock # :1111\nlab:11110 {", "base_config: `:1111` is missing"),
            (
                ":1111 {\nadmin off # admin unix//run/caddy/admin.sock",
                "base_config: `admin unix//run/caddy/admin.sock` is missing",
            ),
            (
                "admin\t\"unix//run/caddy/admin.sock\"\n:8080, :1111{",
                "base_config: `%REDIRECT_TO_HTTPS%` is missing",
            ),
            (
                "# %TLS%\nadmin unix//run/caddy/admin.sock\n:1111",
                "base_config: `%REDIRECT_TO_HTTPS%` is missing",
            ),
        ] {
            assert_eq!(templates(base, "", &[]).missing_directive(&https()).as_deref(), Some(problem));
        }
        let old = templates(base, "%PROXY_PORT%", &[(7, "x")]);
        assert_eq!(
            old.missing_directive(&Settings::default()).as_deref(),
            Some("service_config_7: `%PROXY_PORT%` is missing")
        );
        let half = Templates { own: BTreeMap::new(), ..old };
        assert_eq!(half.missing_directive(&https()).as_deref(), Some("service_config: `%TLS%` is missing"));
    }

    #[test]
    fn each_template_has_a_sample_service() {
        let all =
            templates("", "s %PROXY_PORT%", &[(7, "seven %PROXY_PORT%"), (10_001, "other %PROXY_PORT%")]);
        let examples = all.sample_services();
        let text = all.render(&Settings::default(), &examples).text;
        assert!(text.contains("seven ") && text.contains("other ") && text.contains("\ns "), "{text}");
        assert!(examples.iter().all(|service| service.check().is_ok()), "{examples:?}");
        assert!(examples.iter().any(|service| service.instances.len() > 1), "{examples:?}");
    }

    /// Pieces of templates that would expose a repeated or misplaced substitution.
    const PIECES: [&str; 15] = [
        "%PROXY_PORT%",
        "%LISTEN_PORT%",
        "%UPSTREAMS%",
        "%GATE%",
        "%TRUSTED_PROXIES%",
        "%",
        "%%",
        "%GATE",
        "PORT%",
        "{",
        "}\n",
        "{$HOME}",
        "{env.PATH}",
        "import x\n",
        "ä\u{202e}",
    ];

    /// Returns reproducible pseudo-random numbers.
    fn numbers() -> impl Iterator<Item = usize> {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        std::iter::repeat_with(move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 33).unwrap_or(0)
        })
    }

    #[test]
    fn only_placeholders_are_replaced_in_any_template() {
        let settings = Settings::default();
        let mut numbers = numbers();
        for _ in 0..2_000 {
            let picked: Vec<&str> = (0..12).map(|_| PIECES[numbers.next().unwrap() % PIECES.len()]).collect();
            let template = picked.concat();
            let made = templates("", &template, &[]).render(&settings, &[service(8188, false)]).text;
            // Independent implementation: splits the template at its placeholders and joins the values.
            let expected = [
                ("%PROXY_PORT%", "8188"),
                ("%LISTEN_PORT%", "18188"),
                ("%UPSTREAMS%", "127.0.0.1:18188"),
                ("%GATE%", "open"),
            ];
            let mut rest = template.as_str();
            let mut joined = String::new();
            while let Some(first) = rest.chars().next() {
                let found = expected.iter().find(|(placeholder, _)| rest.starts_with(placeholder));
                let (length, value) = found
                    .map_or((first.len_utf8(), &rest[..first.len_utf8()]), |found| (found.0.len(), found.1));
                joined.push_str(value);
                rest = &rest[length..];
            }
            let lines = |text: &str| text.trim_matches('\n').to_owned();
            assert_eq!(lines(&made), lines(&joined), "{template:?}");
            assert!(!made.contains(":6666"), "{template:?}");
        }
    }
}
