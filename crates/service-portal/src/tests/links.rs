//! One-time login links, share links and the access page.

use kit::unix_time;

use super::fixture::Portal;

const LINK: &str = "Log in to all services of this container with this browser?";

#[test]
fn a_one_time_link_logs_one_browser_in() {
    let mut portal = Portal::new();
    let code = portal.state.login_codes().issue(60, unix_time::now()).unwrap();
    let page = portal.send(&format!("portal page /leonardo/enter?code={code}"), "");
    assert!(page.status == 200 && page.body.contains(LINK), "{}", page.body);
    portal.check_pages(&format!(
        "portal page HEAD /leonardo/enter?code={code}         => 200
         portal page /leonardo/enter?code=x                   => 410 <Invalid link>
         portal port POST /leonardo/enter | code={code}       => 403 This form was sent from another page. Open the link itself.
         portal POST /leonardo/enter | code={code}            => 403 This form was sent from another page. Open the link itself.
         portal own POST /leonardo/enter | code=x             => 410 <Invalid link>"
    ));
    let entered = portal.send("portal own POST /leonardo/enter", &format!("code={code}"));
    assert_eq!(entered.to_string(), "303 to / sets leonardo_0badcafe sets leonardo_0badcafe_device");
    portal.add_cookie("entered", entered.cookies()[0].clone());
    portal.check_gate("/gate/verify", "page entered => 200 cookie: theme=dark");
    portal.check_pages(&format!(
        "portal own POST /leonardo/enter | code={code} => 410 <Invalid link>
         portal page /leonardo/enter?code={code}       => 410 <Invalid link>"
    ));
    let code = || portal.state.login_codes().issue(60, unix_time::now()).unwrap();
    let (shown, sent) = (code(), code());
    portal.change_login("another password", "another-token");
    portal.check_pages(&format!("portal page /leonardo/enter?code={shown} => 410 <Invalid link>"));
    portal.check_pages(&format!("portal own POST /leonardo/enter | code={sent} => 410 <Invalid link>"));
}

#[test]
fn a_share_link_gives_access_to_its_service_only() {
    let mut portal = Portal::new();
    let share = |seconds, uses| {
        let (_, word) = portal.state.shares().create("Echo", 8188, seconds, uses, unix_time::now()).unwrap();
        word
    };
    let (once, word) = (share(60, Some(1)), share(60, None));
    let past = portal.state.shares().create("Echo", 8188, 60, None, unix_time::now() - 60).unwrap().1;
    let page = portal.send(&format!("page /leonardo/share?link={word}"), "");
    assert!(page.status == 200 && page.body.contains("Echo was shared with you."), "{}", page.body);
    portal.check_pages(&format!(
        "page port=3000 /leonardo/share?link={word}      => 404 <Invalid link>
         page port=none /leonardo/share?link={word}      => 404 <Invalid link>
         page /leonardo/share?link={word}x               => 404 <Invalid link>
         page /leonardo/share?link={past}                => 410 <Invalid link>
         port POST /leonardo/share | link={word}         => 403 This form was sent from another page. Open the link itself.
         POST /leonardo/share | link={word}              => 403 This form was sent from another page. Open the link itself.
         own port=3000 POST /leonardo/share | link={word} => 404 <Invalid link>
         own POST /leonardo/share | link={past}          => 410 <Invalid link>
         own POST /leonardo/share | link={once}          => 303 to / sets leonardo_0badcafe_8188
         own POST /leonardo/share | link={once}          => 410 <Invalid link>"
    ));
    let guest = portal.share("Echo", 8188);
    portal.add_cookie("visitor", guest);
    portal.check_gate(
        "/gate/verify",
        "page visitor           => 200 cookie: theme=dark
         page visitor port=3000 => 302 to /leonardo/login",
    );
    portal.register("Another", 8188, true);
    portal.check_pages(&format!(
        "page /leonardo/share?link={word}       => 404 <Invalid link>
         own POST /leonardo/share | link={word} => 404 <Invalid link>"
    ));
}

const ACCESS: &str = "
    portal page session /leonardo/access                          => 200 <Access> (logout)
    portal program bearer /leonardo/access                        => 200 <Access>
    portal page /leonardo/access                                  => 302 to /leonardo/login
    portal program /leonardo/access                               => 401 Bearer+Basic
    portal frame-port session /leonardo/access                    => 403 The request was made by a page of another origin.
    page session /leonardo/access                                 => 403 Open this page on the portal's own port.
    page guest /leonardo/access                                   => 403 Open this page on the portal's own port.
    own session POST /leonardo/access/end-all |                   => 403 Open this page on the portal's own port.
    portal port session POST /leonardo/access/end-all |           => 403
    portal link-port session POST /leonardo/access/end-all |      => 403 This form was sent from another page.
    portal session POST /leonardo/access/end-all |                => 403 This form was sent from another page.
    portal own POST /leonardo/access/end-all |                    => 401 Bearer+Basic
    portal session POST /leonardo/access/token | name=x&scope=read&days=1 => 403 This form was sent from another page.
    portal session POST /leonardo/access/revoke-token | id=x      => 403 This form was sent from another page.
    own session POST /leonardo/access/token | name=x&scope=read&days=1 => 403 Open this page on the portal's own port.
    portal own bearer-read POST /leonardo/access/token | name=x&scope=read&days=1 => 403
    portal own session POST /leonardo/access/token | name=&scope=read&days=1 => 422 <Access> (logout)
    portal own session POST /leonardo/access/token | name=x&scope=read&days=366 => 422 <Access> (logout)
    portal session POST /leonardo/access/phone |                  => 403 This form was sent from another page.
    portal session POST /leonardo/access/share | port=8188&hours=1 => 403 This form was sent from another page.
    portal session POST /leonardo/access/revoke | id=x            => 403 This form was sent from another page.
    portal session POST /leonardo/access/end | id=x               => 403 This form was sent from another page.
    portal own session POST /leonardo/access/share | port=8188&hours=1&max_uses=2 => 200 <Access> (logout)
    portal own session POST /leonardo/access/share | port=9999&hours=1 => 422 <Access> (logout)
    portal own session POST /leonardo/access/share | port=8188&hours=0 => 422 <Access> (logout)
    portal own session POST /leonardo/access/share | port=8188&hours=1&max_uses=x => 422 <Access> (logout)
    portal own session POST /leonardo/access/end | id=none        => 303 to /leonardo/access
    portal own session POST /leonardo/access/revoke | id=none     => 303 to /leonardo/access
    portal bearer POST /leonardo/access/end | id=none            => 303 to /leonardo/access
";

#[test]
fn only_the_owner_on_the_portals_port_lists_and_ends_sessions_and_links() {
    let portal = Portal::new();
    portal.check_pages(ACCESS);
    let made = portal.send("portal own session POST /leonardo/access/share", "port=8188&hours=1");
    let link = made.body.split("<code>").nth(1).unwrap().split("</code>").next().unwrap();
    let word = link.strip_prefix("http://gpu.lan:8188/leonardo/share?link=").unwrap();
    portal.check_pages(&format!(
        "own POST /leonardo/share | link={word} => 303 to / sets leonardo_0badcafe_8188"
    ));
    let phone = portal.send("portal own session POST /leonardo/access/phone", "");
    let code = phone.body.split("http://gpu.lan:1111/leonardo/enter?code=").nth(1).unwrap();
    let code = &code[..43];
    let page = portal.send("portal page session /leonardo/access", "");
    assert_eq!(page.body.matches("this browser").count(), 1, "{}", page.body);
    assert!(page.body.contains("port 8188, through a share link"), "{}", page.body);
    let (share, _) = word.split_once('.').unwrap();
    portal.check_pages(&format!(
        "portal own session POST /leonardo/access/revoke | id={share} => 303 to /leonardo/access
         own POST /leonardo/share | link={word}                     => 404 <Invalid link>"
    ));
    let sessions = portal.state.sessions().list(unix_time::now());
    let bound = sessions.iter().find(|session| session.bound).unwrap();
    portal.check_gate("/gate/verify", "page bound => 200 cookie: theme=dark");
    portal.check_pages(&format!(
        "portal own session POST /leonardo/access/end | id={} => 303 to /leonardo/access",
        bound.id
    ));
    portal.check_gate(
        "/gate/verify",
        "page bound => 302 to /leonardo/login\n page session => 200 cookie: theme=dark",
    );
    portal.check_pages(&format!(
        "portal own session POST /leonardo/access/end-all | => 303 to /leonardo/access
         portal own POST /leonardo/enter | code={code}      => 410 <Invalid link>"
    ));
    portal.check_gate(
        "/gate/verify",
        "page session => 302 to /leonardo/login\n page guest => 302 to /leonardo/login",
    );
}

#[test]
fn an_api_token_is_shown_once_and_works_until_it_is_revoked() {
    let mut portal = Portal::new();
    let form = "name=Graf%22ana&scope=read%2Blogs&days=30";
    let made = portal.send("portal own session POST /leonardo/access/token", form);
    let word = made.body.split("<code>").nth(1).unwrap().split("</code>").next().unwrap().to_owned();
    assert!(made.status == 200 && word.len() == 47, "{}", made.body);
    portal.add_header("new", "authorization", format!("Bearer {word}"));
    portal.check_pages("portal program new /leonardo/api/v1/boot => 200");
    let page = portal.send("portal page session /leonardo/access", "").body;
    assert!(page.contains("Graf&#34;ana") && page.contains("last used just now from 192.0.2.1"), "{page}");
    assert!(!page.contains(&word) && page.contains("read+logs"), "{page}");
    let id = &kit::hex::sha256(word.as_bytes())[..16];
    portal.check_pages(&format!(
        "portal own session POST /leonardo/access/revoke-token | id={id} => 303 to /leonardo/access
         portal program new /leonardo/api/v1/boot                        => 401 Bearer+Basic"
    ));
    let again =
        portal.send("portal own session POST /leonardo/access/token", "name=reader&scope=read&days=1");
    assert!(again.body.contains("There is already a token with this name"), "{}", again.body);
}
