use expect_test::{Expect, expect};
use model::{CheckpointId, ServiceName};

use super::*;

fn refused(text: &str, expected: Expect) {
    let error = Policies::instead("p.cedar", text).unwrap_err();
    expected.assert_eq(&error.to_string());
}

#[test]
fn the_built_in_policies_compile() {
    assert_eq!(Policies::built_in().set.num_of_policies(), 3);
}

#[test]
fn an_action_that_does_not_exist_is_refused_with_file_line_and_column() {
    refused(
        "@id(\"a\")\npermit (\n    principal,\n    action == Tapemark::Action::\"Erase\",\n    resource\n);",
        expect![[
            r#"p.cedar:4:15: for policy `a`, unrecognized action `Tapemark::Action::"Erase"`; did you mean `Tapemark::Action::"View"`?"#
        ]],
    );
}

#[test]
fn what_is_no_cedar_is_refused_where_it_stops_being_it() {
    refused(
        "@id(\"a\")\npermit (principal, action resource);",
        expect![
            "p.cedar:2:27: unexpected token `resource`; expected `!=`, `)`, `,`, `:`, `<`, `<=`, `==`, `>`, `>=`, `in`, or `is`"
        ],
    );
    refused(
        "permit",
        expect!["p.cedar:1:7: unexpected end of input; expected `(`"],
    );
}

#[test]
fn an_attribute_that_nothing_has_is_refused() {
    refused(
        "@id(\"a\") permit (principal, action, resource)\n  when { principal.team == \"x\" };",
        expect![
            "p.cedar:2:10: for policy `a`, attribute `team` on entity type `Tapemark::User` not found; did you mean `services`?"
        ],
    );
}

#[test]
fn a_policy_that_could_never_apply_is_refused() {
    refused(
        "@id(\"a\") forbid (principal, action == Tapemark::Action::\"Submit\", resource is Tapemark::Pool);",
        expect![
            "p.cedar:1:1: for policy `a`, unable to find an applicable action given the policy scope constraints"
        ],
    );
}

#[test]
fn a_policy_without_an_id_of_its_own_is_refused() {
    let permit = "permit (principal, action, resource);";
    refused(
        permit,
        expect![[
            r#"p.cedar: expected @id("…") of 1 to 80 of A-Z a-z 0-9 - _ . on every policy, found "" on policy 1 of the file"#
        ]],
    );
    refused(
        &format!("@id(\"a\") {permit} @id(\"b c\") {permit}"),
        expect![[
            r#"p.cedar: expected @id("…") of 1 to 80 of A-Z a-z 0-9 - _ . on every policy, found "b c" on policy 2 of the file"#
        ]],
    );
    refused(
        &format!("@id(\"a\") {permit} @id(\"a\") {permit}"),
        expect!["p.cedar: expected ids that are used once, found a again"],
    );
    let taken = format!("@id(\"operators-do-everything\") {permit}");
    let error = Policies::beside("p.cedar", &taken).unwrap_err();
    expect!["p.cedar: expected ids that are used once, found operators-do-everything again"]
        .assert_eq(&error.to_string());
}

#[test]
fn empty_too_long_and_too_many_are_refused() {
    refused(
        "// nothing",
        expect!["p.cedar: expected at least one policy, found none"],
    );
    refused(
        &" ".repeat(MAX_BYTES + 1),
        expect!["p.cedar: expected at most 262144 bytes of policies, found 262145"],
    );
    let many: String = (0..=MAX_POLICIES)
        .map(|n| format!("@id(\"p{n}\") permit (principal, action, resource);\n"))
        .collect();
    refused(
        &many,
        expect!["p.cedar: expected at most 1000 policies, found more"],
    );
    refused(
        "@id(\"a\") permit (principal == ?principal, action, resource);",
        expect!["p.cedar: expected policies without ?principal and ?resource, found a template"],
    );
}

#[test]
fn policies_beside_the_built_in_ones_permit_more_and_forbid_what_was_permitted() {
    let text = r#"
        @id("auditors-look") permit (
            principal == Tapemark::User::"audit", action in Tapemark::Action::"View", resource);
        @id("payments-is-closed") forbid (
            principal, action in Tapemark::Action::"ActForService",
            resource in Tapemark::Team::"payments")
        unless { principal in Tapemark::Role::"operator" };"#;
    let policies = Policies::beside("extra.cedar", text).unwrap();
    let service: ServiceName = "payments/eu/api".parse().unwrap();
    let on = Resource::Service(&service);
    let checkpoint = Resource::Checkpoint {
        id: CheckpointId::from_parts(1, &[1; 10]),
        service: &service,
    };
    let audit = Principal::Services(vec!["other".parse().unwrap()]).named("audit");
    let owner = Principal::Services(vec![service.clone()]).named("ci");
    let closed = Verdict::Forbidden {
        policies: vec!["payments-is-closed".to_owned()],
    };
    for (who, action, on, expected) in [
        (
            &audit,
            Action::ReadLedger,
            Resource::Installation,
            Verdict::Permitted,
        ),
        (
            &audit,
            Action::PutPool,
            Resource::Installation,
            Verdict::NotPermitted,
        ),
        (&audit, Action::Restore, checkpoint, closed.clone()),
        (&owner, Action::Submit, on, closed.clone()),
        (
            &owner,
            Action::ReadLedger,
            Resource::Installation,
            Verdict::NotPermitted,
        ),
        (&Principal::Operator, Action::Submit, on, Verdict::Permitted),
    ] {
        assert_eq!(
            policies.allows(who, action, on),
            expected,
            "{who} {action} {on}"
        );
    }
}

#[test]
fn a_policy_that_cannot_be_evaluated_refuses() {
    // Overflow is what validation cannot exclude.
    let text = r#"@id("overflow") forbid (principal, action, resource)
        when { 9223372036854775807 + 1 == 0 };"#;
    let policies = Policies::beside("o.cedar", text);
    let verdict = policies.unwrap().allows(
        &Principal::Operator,
        Action::ReadLedger,
        Resource::Installation,
    );
    assert_eq!(
        verdict,
        Verdict::Undecided {
            policies: vec!["overflow".to_owned()]
        }
    );
}

#[test]
fn policies_that_stand_instead_of_the_built_in_ones_are_all_there_is() {
    let text = "@id(\"one\") permit (principal == Tapemark::User::\"me\", action, resource);";
    let policies = Policies::instead("one.cedar", text).unwrap();
    let me = Principal::Services(Vec::new()).named("me");
    let on = Resource::Installation;
    assert_eq!(
        policies.allows(&me, Action::ReadLedger, on),
        Verdict::Permitted
    );
    assert_eq!(
        policies.allows(&Principal::Operator, Action::ReadLedger, on),
        Verdict::NotPermitted
    );
}
