//! Rounds, scopes, members and what a register must not say.

use super::*;

#[test]
fn the_latest_round_that_speaks_for_the_day_decides() {
    let register = Register::parse(
        r#"
        [[hospital]]
        code = "H1"
        name = "渝北区人民医院"
        ae_titles = ["CT1"]
        [[hospital.assessment]]
        round = "2026-1"
        passed = true
        valid_from = "2026-01-01"
        valid_to = "2026-12-31"
        [[hospital.assessment]]
        round = "2026-2"
        passed = false
        valid_from = "2026-07-01"
        valid_to = "2026-12-31"
        categories = ["CT"]
        "#,
    )
    .unwrap();
    let hospital = register.producer("CT1", "").unwrap();
    let exam = |category, item| Exam { category, item, devices: None };
    assert_eq!(hospital.accredited(exam("CT", 36), "20260310"), Ok(()));
    assert_eq!(hospital.accredited(exam("CT", 36), "20260810"), Err(NotAccredited::Failed));
    assert_eq!(hospital.accredited(exam("DR", 1), "20260810"), Ok(()));
    assert_eq!(hospital.accredited(exam("DR", 1), "20250810"), Err(NotAccredited::NotAssessed));
    assert!(register.producer("X", "渝北区人民医院").is_ok());
    assert_eq!(register.producer("X", "").err(), Some(NotAccredited::UnknownHospital));
    let mixed = [("CT1", ""), ("X", "")].map(|(a, b)| (a.to_string(), b.to_string())).into();
    assert!(register.producer_of_all(&mixed).is_err());
    assert!(Register::parse("[[hospital]]\ncod = 1\n").unwrap_err().contains("line 2"));
    assert_eq!(register.too_few_rounds("20260810"), [("H1", "DR", 1), ("H1", "MR", 1)]);
    assert_eq!(register.too_few_rounds("20270301"), [("H1", "DR", 0), ("H1", "CT", 1), ("H1", "MR", 0)]);
    let refused = |line: &str| Register::parse(&format!("[[hospital]]\ncode = \"A\"\nname = \"a\"\n{line}\n")).unwrap_err();
    for (line, why) in [
        ("level = 4", "level"),
        ("certificates = [\"nothex\"]", "64 hexadecimal"),
        ("ae_titles = [\"\"]", "AE title"),
        (
            "[[hospital.assessment]]\nround = \"1\"\npassed = true\nvalid_from = \"2026-1-1\"\nvalid_to = \"2026-12-31\"",
            "valid_from",
        ),
        ("[[hospital.assessment]]\nround = \"1\"\npassed = true\nvalid_from = \"2026-01-01\"\nvalid_to = \"\"", "valid_to"),
        (
            "[[hospital.assessment]]\nround = \"1\"\npassed = true\nvalid_from = \"2026-02-30\"\nvalid_to = \"2026-12-31\"",
            "valid_from",
        ),
        (
            "[[hospital.assessment]]\nround = \"1\"\npassed = true\nvalid_from = \"2026-03-01\"\nvalid_to = \"2026-01-31\"",
            "before",
        ),
        (
            "[[hospital.assessment]]\nround = \"1\"\npassed = true\nvalid_from = \"2026-01-01\"\nvalid_to = \"2026-12-31\"\ncategories = [\"CTT\"]",
            "CTT",
        ),
    ] {
        assert!(refused(line).contains(why) && refused(line).contains("hospital A"), "{line}: {}", refused(line));
    }
    let colons = format!("[[hospital]]\ncode = \"A\"\nname = \"a\"\ncertificates = [\"{}\"]\n", ["Ab"; 32].join(":"));
    assert!(Register::parse(&colons).unwrap().hospital_of_certificate(&"ab".repeat(32)).is_some());
    let twice = "[[hospital]]\ncode = \"A\"\nname = \"a\"\nae_titles = [\"X\"]\n";
    assert!(Register::parse(&(twice.to_string() + &twice.replace("\"A\"", "\"B\""))).unwrap_err().contains("AE title X"));
}

#[test]
fn an_assessment_of_devices_speaks_for_those_only() {
    let round = |name: &str, passed: bool, from: &str, devices: &str| {
        format!(
            "[[hospital.assessment]]\nround = \"{name}\"\npassed = {passed}\nvalid_from = \"{from}\"\nvalid_to = \"2026-12-31\"\n\
             devices = [{devices}]\n"
        )
    };
    let text = "[[hospital]]\ncode = \"A\"\nname = \"a\"\nclients = [\"key a-pacs\", \"token viewer *\"]\n".to_string()
        + &round("1", true, "2026-01-01", "\"CT-1\", \"CT-2\"")
        + &round("2", false, "2026-06-01", "\"CT-2\"");
    let register = Register::parse(&text).unwrap();
    let hospital = register.hospital("A").unwrap();
    let of = |devices: &[&str], day| {
        let devices = devices.iter().map(ToString::to_string).collect();
        hospital.accredited(Exam { category: "CT", item: 36, devices: Some(&devices) }, day)
    };
    assert_eq!(of(&["CT-1"], "20260310"), Ok(()));
    assert_eq!(of(&["CT-1", "CT-2"], "20260310"), Ok(()));
    assert_eq!(of(&["CT-3"], "20260310"), Err(NotAccredited::NotAssessed));
    assert_eq!(of(&["CT-1", "CT-3"], "20260310"), Err(NotAccredited::NotAssessed));
    assert_eq!(of(&[], "20260310"), Err(NotAccredited::NotAssessed), "it does not say which it is");
    assert_eq!(of(&["CT-2"], "20260701"), Err(NotAccredited::Failed));
    assert_eq!(of(&["CT-1"], "20260701"), Ok(()));
    assert_eq!(hospital.accredited(Exam { category: "CT", item: 36, devices: None }, "20260310"), Ok(()));
    assert!(hospital.is_assessed_by_device());
    for (name, is) in [("key a-pacs", true), ("key a-pacs2", false), ("token viewer A https://i", true), ("key b", false)] {
        assert_eq!(hospital.is_client(name), is, "{name}");
    }
}

#[test]
fn a_later_round_takes_the_place_of_what_lies_in_its_scope_and_a_failed_one_counts() {
    let hospital = |rounds: &[(&str, bool, &str, &str, &str)]| {
        let each = rounds.iter().map(|(name, passed, from, to, scope)| {
            format!("[[hospital.assessment]]\nround = \"{name}\"\npassed = {passed}\nvalid_from = \"{from}\"\nvalid_to = \"{to}\"\n{scope}\n")
        });
        let text = format!("[[hospital]]\ncode = \"A\"\nname = \"a\"\n{}", each.collect::<String>());
        Register::parse(&text).unwrap().hospitals.remove(0)
    };
    let (ct, item) = ("categories = [\"CT\"]", "categories = [\"CT\"]\nitems = [36]");
    let all_year = |passed, from, scope| ("r", passed, from, "2026-12-31", scope);
    assert!(!hospital(&[all_year(true, "2026-01-01", ct), all_year(false, "2026-07-01", "")]).is_admitted("20260810"));
    assert!(!hospital(&[all_year(true, "2026-01-01", item), all_year(false, "2026-07-01", ct)]).is_admitted("20260810"));
    assert!(
        hospital(&[all_year(true, "2026-01-01", ""), all_year(false, "2026-07-01", ct)]).is_admitted("20260810"),
        "DR and MR stand"
    );
    let asked = Exam { category: "CT", item: 36, devices: None };
    for order in [[true, false], [false, true]] {
        let both = hospital(&order.map(|passed| all_year(passed, "2026-01-01", if passed { "" } else { ct })));
        assert_eq!(both.accredited(asked, "20260310"), Err(NotAccredited::Failed), "{order:?}");
    }
    let lapsed = hospital(&[("1", true, "2026-01-01", "2026-06-30", ct), ("2", false, "2026-07-01", "2026-09-30", ct)]);
    assert!(lapsed.has_failed(asked, "20261128") && lapsed.accredited(asked, "20261128").is_err());
    assert!(!lapsed.has_failed(asked, "20260630") && !lapsed.has_failed(Exam { category: "DR", ..asked }, "20261128"));
}

#[test]
fn public_hospitals_take_part_and_private_ones_opt_in() {
    let member =
        |line: &str| Register::parse(&format!("[[hospital]]\ncode = \"A\"\nname = \"a\"\n{line}\n")).unwrap().takes_part("A");
    for (line, is) in [
        ("", true),
        ("ownership = \"private\"", false),
        ("ownership = \"private\"\nmember = true", true),
        ("liangjiang_direct = true", false),
        ("liangjiang_direct = true\nmember = true", true),
        ("member = false", false),
    ] {
        assert_eq!(member(line), is, "{line}");
    }
}
