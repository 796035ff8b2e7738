//! Who may use which route: every role on every route of the one list.

use hookbox::admin::{Endpoint, Role, endpoints};

use super::site::site;

/// A path with something in the place of each parameter.
fn filled(endpoint: &Endpoint) -> String {
    let path = endpoint.path.replace("{action}", "retry").replace("{bucket}", "audit");
    path.replace("{id}", "evt_0000000000000001").replace("{name}", "audit")
}

#[tokio::test]
async fn a_route_answers_the_roles_that_may_use_it_and_no_other() {
    let roles = std::iter::once(None).chain(Role::ALL.map(Some));
    for role in roles {
        let site = site().with_role(role);
        for endpoint in endpoints() {
            let Endpoint { method, path, role: needed, is_page } = endpoint;
            if path.ends_with("/stream") {
                // Otherwise it would not end.
                site.admin.closing.cancel();
            }
            let (status, body) = site.ask(method.as_str(), &filled(endpoint), None).await;
            let may = role.is_some_and(|role| role.may(*needed));
            assert_eq!(status != 403, may, "{role:?} {method} {path}: {status} {body}");
            if !may {
                // A page says it as a page.
                let detail = if *is_page { body.as_str() } else { body["detail"].as_str() };
                let detail = detail.unwrap();
                assert!(detail.contains(needed.name()), "{method} {path}: {detail}");
            }
            assert_ne!(status, 405, "{method} {path} is in the list and not in the router");
        }
    }
}

#[tokio::test]
async fn the_document_names_the_role_of_every_route_and_of_no_other() {
    let document = site().get("/api/v1/openapi.json").await;
    let documented = document["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
        let operations = item.as_object().unwrap().iter();
        operations.map(|(method, operation)| row(method, path, operation["x-role"].as_str()))
    });
    let listed = endpoints()
        .iter()
        .filter(|endpoint| !endpoint.is_page)
        .map(|Endpoint { method, path, role, .. }| row(method.as_str(), path, Some(role.name())));
    let (mut documented, mut listed): (Vec<_>, Vec<_>) = (documented.collect(), listed.collect());
    documented.sort_unstable();
    listed.sort_unstable();
    assert_eq!(documented, listed);
    assert!(listed.len() > 20, "{listed:?}");
}

fn row(method: &str, path: &str, role: Option<&str>) -> (String, String, Option<String>) {
    (method.to_lowercase(), path.to_owned(), role.map(str::to_owned))
}
