"""Where our Placement is meant to differ from the reference, for the conformance run."""

SKIPPED_FILES = {
    "cors": "there is no CORS middleware",
    "non-cors": "there is no CORS middleware",
}
"""YAML file -> why none of it is run."""

JSON_ERRORS = "errors are JSON, whatever the client accepts"
VARY = "the Vary header spells the name of the header as the others services' do; names of headers have no case"
DETAIL = "the wording of our validation"

MEANT: dict[tuple[str, str], str] = {
    ("aggregate", "put aggregates for bad resource provider"): "a body that is not valid is told before a provider that is not there",
    ("allocation-candidates-root-required", "limit to multiattach-capable unsuffixed sharing"): "traits are sorted by name",
    ("allocations-mappings", "put allocation mapping bad form"): DETAIL,
    ("allocations-mappings", "put allocation mapping empty"): DETAIL,
    ("basic-http", "PUT resource provider no body"): "a body without a content type is taken for JSON",
    ("basic-http", "bad content length not int"): "the test's own client refuses to send it",
    ("bug-1674694", "404 with other accept"): JSON_ERRORS,
    ("microversion", "other accept header bad version"): JSON_ERRORS,
    ("microversion", "root has microversion header"): VARY,
    ("microversion", "latest microversion is 1.39"): VARY,
    ("usage-policy", "get total usages for project"): "another project's usage is not shown, whatever a policy file says",
}
"""(file, test) -> why we answer otherwise."""

WORDING = [
    r"Failed validating",  # how the reference's validation library prints its schema
    r"^Malformed JSON:?$",
    r"is not a 'uuid'",
    r"^JSON does not validate: .*(minimum|too short)",
    r"is less than the minimum of 1",
    r"does not have enough properties",
    r"is a required( property)?$",
    r"^does not match any of the regexes$",
    r"'instance' does not match",
    r"is not of type",
    r"^'bad_field' was unexpected$",
    r"^Additional properties are not allowed$",
    r"content-type header required",
    r"Unacceptable version header",
    r"invalid version string",
    r"Inventory for 'VCPU, DISK_GB' on",  # the same classes in another order
]
"""Expected strings that are the wording of a library, or of a sentence that we say otherwise."""
