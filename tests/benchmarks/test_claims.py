from benchmarks import claims


def test_both_ways_of_a_claim_have_one_result():
    """Otherwise their times say nothing."""
    count = 0
    for claim in claims.claims():
        assert claims.difference(claim) < 1e-4, claim.what
        assert claim.slow[0] != claim.fast[0]
        count += 1
    assert count >= 10


def test_what_is_printed(monkeypatch, capsys):
    monkeypatch.setattr(claims, "claims", lambda: iter([claims.Claim("x", ("a", lambda: [1.0]), ("b", lambda: [1.0]))]))
    claims.main(["--seconds", "0.001"])
    assert "| x | a: " in capsys.readouterr().out
