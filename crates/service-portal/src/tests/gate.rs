//! Responses of the gate by kind of client and kind of login: the status, with `+` where a 401 offers `Basic`. An allowed
//! websocket gets 502 behind the login, because the service of these tests does not listen.

use super::fixture::Portal;

/// A service behind the login: no login, the owner's session, a guest's session, the token and the password.
///
/// Requests made by a page of another origin are allowed only with the token, which browsers never add.
const WITH_LOGIN: &str = "
    client             none     session  guest    bearer   basic
    program            401+     200      200      200      200
    program-post       401+     200      200      200      200
    program-socket     401+     502      502      502      502
    tunnel             400      400      400      400      400
    page               302      200      200      200      200
    page-http          302      200      200      200      200
    link-own           302      200      200      200      200
    link-port          302      200      200      200      200
    link-site          302      200      200      200      200
    prefetch           302      403      403      200      403
    frame-own          302      200      200      200      200
    frame-port         302      403      403      200      403
    frame-site         302      403      403      200      403
    script-own         401      200      200      200      200
    script-port        401      403      403      200      403
    script-site        401      403      403      200      403
    script-http        401      200      200      200      200
    fetch-own          401      200      200      200      200
    fetch-port         401      403      403      200      403
    fetch-site         401      403      403      200      403
    fetch-port-http    401      403      403      200      403
    preflight          418      403      403      200      403
    options            401      200      200      200      200
    socket-own         401      502      502      502      502
    socket-port        401      403      403      502      403
    socket-site        401      403      403      502      403
    socket-own-http    401      502      502      502      502
    socket-port-http   401      403      403      502      403
    form-own           401      200      200      200      200
    form-port          401      403      403      200      403
    form-site          401      403      403      200      403
    form-sandbox       401      403      403      200      403
    form-own-http      401      200      200      200      200
    form-port-http     401      403      403      200      403
    form-sandbox-http  401      403      403      200      403
";

/// The same with `WEB_ENABLE_AUTH=false`; only a program sends a token, even a wrong one.
const WITHOUT_LOGIN: &str = "
    client             none     session  bearer   basic
    program            200      200      200      200
    program-post       200      200      200      200
    program-socket     502      502      502      502
    tunnel             400      400      400      400
    page               200      200      200      200
    page-http          200      200      200      200
    link-own           200      200      200      200
    link-port          200      200      200      200
    link-site          200      200      200      200
    prefetch           403      403      200      403
    frame-own          200      200      200      200
    frame-port         403      403      200      403
    frame-site         403      403      200      403
    script-own         200      200      200      200
    script-port        403      403      200      403
    script-site        403      403      200      403
    script-http        200      200      200      200
    fetch-own          200      200      200      200
    fetch-port         403      403      200      403
    fetch-site         403      403      200      403
    fetch-port-http    403      403      200      403
    preflight          200      200      200      200
    options            200      200      200      200
    socket-own         502      502      502      502
    socket-port        403      403      502      403
    socket-site        403      403      502      403
    socket-own-http    502      502      502      502
    socket-port-http   403      403      502      403
    form-own           200      200      200      200
    form-port          403      403      200      403
    form-site          403      403      200      403
    form-sandbox       403      403      200      403
    form-own-http      200      200      200      200
    form-port-http     403      403      200      403
    form-sandbox-http  403      403      200      403
";

/// A service without a login. Pages of other origins can read from it, and can write to it if its host is public.
const OPEN_SERVICE: &str = "
    client             private  session  bearer   public
    program            200      200      200      200
    program-post       200      200      200      200
    program-socket     200      200      200      200
    tunnel             400      400      400      400
    page               200      200      200      200
    page-http          200      200      200      200
    link-own           200      200      200      200
    link-port          200      200      200      200
    link-site          200      200      200      200
    prefetch           200      200      200      200
    frame-own          200      200      200      200
    frame-port         200      200      200      200
    frame-site         200      200      200      200
    script-own         200      200      200      200
    script-port        200      200      200      200
    script-site        200      200      200      200
    script-http        200      200      200      200
    fetch-own          200      200      200      200
    fetch-port         200      200      200      200
    fetch-site         200      200      200      200
    fetch-port-http    200      200      200      200
    preflight          200      200      200      200
    options            200      200      200      200
    socket-own         200      200      200      200
    socket-port        403      403      200      200
    socket-site        403      403      200      200
    socket-own-http    200      200      200      200
    socket-port-http   403      403      200      200
    form-own           200      200      200      200
    form-port          403      403      200      200
    form-site          403      403      200      200
    form-sandbox       403      403      200      200
    form-own-http      200      200      200      200
    form-port-http     403      403      200      200
    form-sandbox-http  403      403      200      200
";

/// Compares a matrix; each column is a portal with further words of the request.
#[track_caller]
fn check(gate: &str, columns: &[(&Portal, &str)], matrix: &str) {
    let rows = matrix.lines().map(str::trim).filter(|line| !line.is_empty()).skip(1);
    let seen = rows.clone().map(|row| {
        let client = row.split_whitespace().next().unwrap();
        let cells = columns.iter().map(|(portal, words)| {
            let answer = portal.ask(gate, &format!("{client} {words}"));
            let offers = answer.header("www-authenticate").is_some_and(|value| value.contains("Basic"));
            format!(" {:<8}", format!("{}{}", answer.status, if offers { "+" } else { "" }))
        });
        format!("{client:<18}{}", cells.collect::<String>()).trim_end().to_owned()
    });
    let (seen, expected): (Vec<String>, Vec<&str>) = (seen.collect(), rows.collect());
    assert!(seen == expected, "\n{}\n", seen.join("\n"));
}

#[test]
fn a_service_behind_the_login_is_open_to_its_owner_but_not_to_other_origins() {
    let portal = Portal::new();
    let columns = ["", "session", "guest", "bearer", "basic"].map(|words| (&portal, words));
    check("/gate/verify", &columns, WITH_LOGIN);
}

#[test]
fn with_logins_disabled_other_origins_are_refused_as_with_a_session() {
    let portal = Portal::with(&[("WEB_ENABLE_AUTH", "false")]);
    let columns = ["", "session", "bearer-wrong", "basic"].map(|words| (&portal, words));
    check("/gate/verify", &columns, WITHOUT_LOGIN);
}

#[test]
fn a_private_service_without_a_login_is_protected_from_other_origins() {
    let portal = Portal::new();
    let columns = ["", "session", "bearer-wrong", "host=198.51.100.9:3000"].map(|words| (&portal, words));
    check("/gate/open", &columns, OPEN_SERVICE);
}
