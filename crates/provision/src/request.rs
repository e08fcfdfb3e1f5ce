//! One try at fetching a script: redirects, limits, and a message for each way to fail.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use kit::{Env, units};
use percent_encoding::{CONTROLS, percent_encode};
use ureq::http::Response;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, LOCATION, RETRY_AFTER};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body, Error, Timeout};

use crate::address::{Address, InvalidAddress};
use crate::content_check::MAX_BYTES;
use crate::failure::Failure;
use crate::proxy;
use crate::resolver;
use crate::time_limits::TimeLimits;

/// Maximum number of redirects.
const REDIRECTS: usize = 5;
/// Errors of connections that break off.
const BREAKS: [io::ErrorKind; 3] =
    [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::ConnectionAborted];
const AGENT: &str = concat!("leonardo-provision/", env!("CARGO_PKG_VERSION"));

/// Content that a host returned.
#[derive(Debug)]
pub struct FetchedScript {
    pub bytes: Vec<u8>,
    pub content_type: Option<String>,
    /// Address after all redirects.
    pub from: Address,
}

/// Error of one try.
#[derive(Debug)]
pub struct RequestError {
    pub failure: Failure,
    /// True if another try may succeed.
    pub is_temporary: bool,
    /// Pause that the host asks for.
    pub retry_after: Option<Duration>,
}

impl RequestError {
    fn permanent(failure: Failure) -> Self {
        Self { failure, is_temporary: false, retry_after: None }
    }

    fn temporary(failure: Failure) -> Self {
        Self { failure, is_temporary: true, retry_after: None }
    }
}

/// Sends one request and follows redirects. `progress` receives them.
pub fn request(
    address: &Address,
    env: &Env,
    limits: &TimeLimits,
    deadline: Instant,
    progress: &mut impl FnMut(&str),
) -> Result<FetchedScript, RequestError> {
    let mut visited = vec![address.clone()];
    loop {
        let here = visited.last().unwrap_or(address).clone();
        let left = deadline.saturating_duration_since(Instant::now());
        let login = here.login().or_else(|| address.login().filter(|_| here.same_origin(address)));
        let mut response = ask(&here, login, env, limits, left)?;
        match response.status().as_u16() {
            200 | 203 => {
                let content_type = header(&response, &CONTENT_TYPE);
                let bytes = body(&mut response, &here, limits)?;
                return Ok(FetchedScript { bytes, content_type, from: here });
            }
            301..=303 | 307 | 308 => {
                let next = redirect(&response, &visited).map_err(RequestError::permanent)?;
                if next.host() == here.host() {
                    progress(&format!("redirected to {next}"));
                } else {
                    progress(&format!("redirected to another host: {next}"));
                }
                visited.push(next);
            }
            _ => return Err(refused(&response, &here)),
        }
    }
}

fn ask(
    address: &Address,
    login: Option<Vec<u8>>,
    env: &Env,
    limits: &TimeLimits,
    left: Duration,
) -> Result<Response<Body>, RequestError> {
    let proxy = proxy::for_address(address, env).map_err(RequestError::permanent)?;
    let through =
        proxy.as_ref().map(|proxy| format!(", through the proxy {}:{}", proxy.host(), proxy.port()));
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier);
    let config = Agent::config_builder()
        .http_status_as_error(false)
        // Redirects are followed by our own rules.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(AGENT)
        .accept("text/plain, */*")
        .timeout_resolve(Some(limits.connect))
        .timeout_connect(Some(limits.connect))
        .timeout_per_read(Some(limits.stall))
        .timeout_per_write(Some(limits.stall))
        .timeout_global(Some(left))
        // Each connection serves one answer.
        .max_idle_connections(0)
        .proxy(proxy)
        .tls_config(tls.build())
        .build();
    let mut request = resolver::agent(config).get(address.to_request());
    if let Some(login) = login {
        request = request.header(AUTHORIZATION, format!("Basic {}", BASE64_STANDARD.encode(login)));
    }
    request.call().map_err(|error| describe_error(&error, address, through.as_deref(), limits))
}

/// Returns the target of a redirect, if it may be followed.
fn redirect(response: &Response<Body>, visited: &[Address]) -> Result<Address, Failure> {
    let Some(here) = visited.last() else { return Err(Failure::new("no address", "")) };
    let hint = || "use the final address of the redirects".to_owned();
    let Some(location) = response.headers().get(LOCATION) else {
        let status = response.status().as_u16();
        return Err(Failure::new(format!("{here} returned {status} without a Location"), hint()));
    };
    // Some servers leave the encoding to the client.
    let location = percent_encode(location.as_bytes().trim_ascii(), CONTROLS).to_string();
    let next = here.join(&location).map_err(|error| match error {
        InvalidAddress::Scheme(scheme) => Failure::new(
            format!("{here} redirects to {scheme:?}:, only http and https are supported"),
            hint(),
        ),
        InvalidAddress::Malformed => Failure::new(format!("{here} redirects to an invalid URL"), hint()),
    })?;
    if here.is_https() && !next.is_https() {
        let cause = format!("{here} redirects from https to {next}, which is not encrypted");
        return Err(Failure::new(cause, hint()));
    }
    if visited.contains(&next) {
        let way: Vec<String> = visited.iter().chain([&next]).map(ToString::to_string).collect();
        return Err(Failure::new(format!("redirect loop: {}", way.join(" -> ")), hint()));
    }
    if visited.len() > REDIRECTS {
        let cause = format!("{} redirects more than {REDIRECTS} times, at last to {next}", visited[0]);
        return Err(Failure::new(cause, hint()));
    }
    Ok(next)
}

/// Returns the error of an answer that is neither content nor a redirect.
fn refused(response: &Response<Body>, address: &Address) -> RequestError {
    let status = response.status();
    let cause = format!("{address} returned {status}");
    let hint = match status.as_u16() {
        401 | 403 | 407 => "the script must be readable without a login, or with one in the address",
        404 | 410 => "open the address in a private browser window: it must show the script",
        _ => "open the address in a browser; to retry: supervisorctl restart boot",
    };
    let failure = Failure::unreachable(cause, hint);
    match status.as_u16() {
        408 | 429 | 500..=599 => RequestError {
            failure,
            is_temporary: true,
            // A date, the other form, would need clocks that agree.
            retry_after: header(response, &RETRY_AFTER)
                .and_then(|text| text.trim().parse().ok())
                .map(Duration::from_secs),
        },
        _ => RequestError::permanent(failure),
    }
}

fn body(
    response: &mut Response<Body>,
    address: &Address,
    limits: &TimeLimits,
) -> Result<Vec<u8>, RequestError> {
    let mut bytes = Vec::new();
    let reader = response.body_mut().as_reader();
    match reader.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes) {
        Ok(_) if bytes.len() > MAX_BYTES => Err(RequestError::permanent(Failure::new(
            format!(
                "{address} is larger than {}, which is too large for a script",
                units::format_bytes(MAX_BYTES as u64)
            ),
            "download or unpack large files in the script instead",
        ))),
        Ok(_) => Ok(bytes),
        Err(error) => Err(describe_error(&Error::from(error), address, None, limits)),
    }
}

fn header(response: &Response<Body>, name: &HeaderName) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

/// Returns the message for an error below HTTP.
fn describe_error(
    error: &Error,
    address: &Address,
    through: Option<&str>,
    limits: &TimeLimits,
) -> RequestError {
    let host = address.host();
    let seconds = |time: Duration| format!("{} s", time.as_secs_f64());
    let network = "check that the container can reach the internet, then run: supervisorctl restart boot";
    let broke_off = || {
        let cause = format!("the connection to {address} was closed before the response was complete");
        RequestError::temporary(Failure::unreachable(cause, network))
    };
    let cause = match error {
        Error::Timeout(Timeout::Resolve) => {
            format!("looking up {} timed out after {}", address.host_name(), seconds(limits.connect))
        }
        Error::Timeout(Timeout::Connect) => {
            format!("connecting to {host} timed out after {}", seconds(limits.connect))
        }
        Error::Timeout(Timeout::Global) => {
            format!("{address} was not received within {}", seconds(limits.total))
        }
        Error::Timeout(_) => format!("{host} sent no data for {}", seconds(limits.stall)),
        Error::HostNotFound => {
            format!("cannot resolve {}: unknown host, or no name server responds", address.host_name())
        }
        Error::Rustls(reason) => return not_trusted(host, reason),
        Error::Io(reason) if let Some(reason) = tls(reason) => return not_trusted(host, reason),
        Error::Io(reason) if BREAKS.contains(&reason.kind()) => return broke_off(),
        Error::Protocol(_) | Error::BodyStalled | Error::Decompress(..) => return broke_off(),
        Error::BadUri(_) => {
            return RequestError::permanent(Failure::new(
                "PROVISIONING_SCRIPT is not a URL",
                "write it in full, such as https://example.com/setup.sh",
            ));
        }
        Error::ConnectProxyFailed(reason) => format!("the proxy cannot connect to {host}: {reason}"),
        Error::Io(reason) => format!("cannot fetch {address}: {reason}"),
        other => format!("cannot fetch {address}: {other}"),
    };
    RequestError::temporary(Failure::unreachable(format!("{cause}{}", through.unwrap_or_default()), network))
}

fn not_trusted(host: &str, reason: &rustls::Error) -> RequestError {
    if let rustls::Error::InvalidMessage(_) = reason {
        let hint = "check the address: it may need http, or another port";
        return RequestError::permanent(Failure::unreachable(format!("{host} does not speak TLS"), hint));
    }
    RequestError::permanent(Failure::unreachable(
        format!("the certificate of {host} is not trusted: {reason}"),
        "a certificate authority of your own: mount its certificate and set SSL_CERT_FILE to its path",
    ))
}

/// Returns the TLS error inside an I/O error of the handshake.
fn tls(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref::<rustls::Error>()
}
