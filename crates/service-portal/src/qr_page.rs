//! The page with the QR code of a service's address.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;

use crate::app_state::AppState;
use crate::client::Client;
use crate::frame::{Frame, Page};
use crate::log_limit;
use crate::origins::Origins;
use crate::page_access::require_owner;
use crate::pages::render;
use crate::service_address::{Route, addresses};
use crate::{qr_code, response};

/// The service and the way to it; the URL itself is never part of the request.
#[derive(Deserialize)]
pub struct QrQuery {
    port: u16,
    route: Route,
}

#[derive(Template)]
#[template(path = "qr.html")]
struct QrPage {
    frame: Frame,
    name: String,
    route: &'static str,
    url: String,
    svg: String,
    needs_login: bool,
}

/// `GET /leonardo/qr?port=8188&route=direct`: shows the code.
pub async fn qr(State(state): State<AppState>, query: Query<QrQuery>, headers: HeaderMap) -> Response {
    let client = Client(&headers);
    let verdict = match require_owner(&state, client) {
        Ok(verdict) => verdict,
        Err(refusal) => return *refusal,
    };
    let Query(QrQuery { port, route }) = query;
    let service = state.service(port);
    let address = service.as_ref().and_then(|service| {
        let all = addresses(&Origins::new(&state, client), port, &service.service_url);
        all.into_iter().find(|address| address.route == route)?.url
    });
    let (Some(service), Some(url)) = (service, address) else {
        return response::text_error(StatusCode::NOT_FOUND, "This service has no such address any more.");
    };
    match qr_code::svg(&url) {
        Ok(svg) => {
            let frame = Frame::new(&state, client, verdict, Page::Services).with_closed_problems();
            let name = service.service_name;
            let needs_login = service.proxy_secure && frame.has_login();
            render(StatusCode::OK, &QrPage { frame, name, route: route.label(), url, svg, needs_login })
        }
        Err(error) => {
            log_limit::error(&error);
            response::text_error(StatusCode::UNPROCESSABLE_ENTITY, "This address is too long for a QR code.")
        }
    }
}
