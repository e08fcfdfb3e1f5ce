//! Certificates that are accepted, and those that are refused.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use provision::ReportOutcome::{Failed, Ran};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::fixture::{Machine, RunOutput};
use crate::server::{Server, Stream, redirect, script};

const HINT: &str =
    "a certificate authority of your own: mount its certificate and set SSL_CERT_FILE to its path";

static KEYS: AtomicU32 = AtomicU32::new(0);

/// A server with a self-signed certificate, and that certificate.
fn secure(names: &[&str], expired: bool, answer: Vec<u8>) -> (Server, String) {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut parameters = CertificateParams::new(names).unwrap();
    // Each is its own authority: with two of one name, the signature would be the error.
    parameters
        .distinguished_name
        .push(rcgen::DnType::CommonName, format!("authority {}", KEYS.fetch_add(1, Ordering::Relaxed)));
    if expired {
        parameters.not_after = rcgen::date_time_ymd(2020, 1, 1);
    }
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let config = Arc::new(config);
    let wrap = move |stream: TcpStream| {
        let connection = ServerConnection::new(Arc::clone(&config)).ok()?;
        Some(Box::new(StreamOwned::new(connection, stream)) as Box<dyn Stream>)
    };
    let server = Server::over(wrap, move |_, _, stream| drop(stream.write_all(&answer)));
    (server, certificate.pem())
}

fn fetch(server: &Server, host: &str, trusted: &str) -> RunOutput {
    let port = server.host.rsplit(':').next().unwrap();
    let mut machine = Machine::new();
    // A handshake can be slow on a busy machine.
    machine.time_divisor = "10";
    std::fs::write(machine.path("trusted.pem"), trusted).unwrap();
    let trusted = machine.path("trusted.pem").display().to_string();
    machine.set("SSL_CERT_FILE", trusted).set("PROVISIONING_SCRIPT", format!("https://{host}:{port}/x.sh"));
    let result = machine.run();
    let ran = machine.read("work/ran");
    assert_eq!(ran.is_empty(), result.report.outcome == Failed, "{result:?}");
    result
}

const SCRIPT: &str = "echo ran >> $WORKSPACE/ran\n";

#[test]
fn a_certificate_of_ones_own_is_trusted_where_it_is_named() {
    let (server, certificate) = secure(&["localhost"], false, script(SCRIPT));
    let result = fetch(&server, "localhost", &certificate);
    assert_eq!((result.report.outcome, result.report.cause), (Ran, None));
}

#[test]
fn a_certificate_that_is_strange_or_old_or_anothers_is_refused_at_once() {
    let (strange, _) = secure(&["localhost"], false, script(SCRIPT));
    let (_, another) = secure(&["localhost"], false, script(SCRIPT));
    let (old, old_certificate) = secure(&["localhost"], true, script(SCRIPT));
    let (others, others_certificate) = secure(&["elsewhere.example"], false, script(SCRIPT));
    for (server, trusted, reason) in [
        (&strange, &another, "UnknownIssuer"),
        (&old, &old_certificate, "certificate expired"),
        (&others, &others_certificate, "certificate not valid for name \"localhost\""),
    ] {
        let result = fetch(server, "localhost", trusted);
        let host = server.host.replace("127.0.0.1", "localhost");
        let cause = result.report.cause.unwrap();
        assert!(
            cause.starts_with(&format!(
                "the certificate of {host} is not trusted: invalid peer certificate: "
            )),
            "{cause}"
        );
        assert!(cause.contains(reason), "{cause}");
        assert!(!cause.contains("tried"), "it does not get better: {cause}");
        assert_eq!(result.report.hint.as_deref(), Some(HINT));
    }
}

#[test]
fn https_never_leads_to_http() {
    let plain = Server::saying(script(SCRIPT));
    let (server, certificate) = secure(&["localhost"], false, redirect(&plain.url("/x.sh")));
    let result = fetch(&server, "localhost", &certificate);
    let here = format!("https://{}/x.sh", server.host.replace("127.0.0.1", "localhost"));
    let there = plain.url("/x.sh");
    let cause = format!("{here} redirects from https to {there}, which is not encrypted");
    assert_eq!((result.report.cause, plain.heads().len()), (Some(cause), 0));
}

#[test]
fn a_host_without_tls_is_reported() {
    let (_, another) = secure(&["localhost"], false, script(SCRIPT));
    // The client does not wait for the end of a response that is not TLS.
    let plain = Server::over(
        |mut stream| {
            let _ = stream.write_all(&script(SCRIPT));
            let _ = stream.read(&mut [0; 4_096]);
            None
        },
        |_, _, _| (),
    );
    let report = fetch(&plain, "localhost", &another).report;
    let host = plain.host.replace("127.0.0.1", "localhost");
    assert_eq!(report.outcome, Failed);
    assert_eq!(report.cause, Some(format!("{host} does not speak TLS")));
    let hint = "check the address: it may need http, or another port";
    assert_eq!(report.hint.as_deref(), Some(hint));
}
