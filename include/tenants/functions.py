"""The functions of DuckDB that expressions may call, with what each takes and gives.

A list, as no property of DuckDB's catalogue says it: `current_localtime` and `age` of one argument
are declared to be consistent, and `repeat` makes ten billion characters of one. What is here gives
the same for the same arguments at any time, and no more text than it is given.

A letter stands for an argument: `t` text, `n` number, `z` integer, `i` instant or day, `b` boolean,
`l` list, `d` interval, `c` a constant, `*` any more of the last, `g` one of several of one kind.
Beside an instant or an interval, `+` and `-` mean what they do there.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final

_LISTED: Final = """
n>n: abs acos acosh asin asinh atan atanh cbrt ceil ceiling cos cosh cot degrees even exp floor
n>n: gamma lgamma ln log log10 log2 radians round sign sin sinh sqrt tan tanh trunc
nn>n: atan2 fdiv fmod log mod pow power
nz>n: round round_even trunc
zz>n: gcd lcm
z>n: factorial
>n: pi
n>b: isfinite isinf isnan signbit
z>t: chr
t>t: lcase lower ltrim md5 nfc_normalize regexp_escape reverse rtrim sha1 sha256 strip_accents trim
t>t: ucase upper url_decode url_encode
tt>t: ltrim rtrim trim
ttt>t: translate
tc>t: json_extract_string regexp_extract
tcc>t: regexp_extract regexp_replace replace
tccc>t: regexp_replace
tz>t: left right substr substring
tzz>t: substr substring
ttz>t: split_part
t*>t: concat
tt*>t: concat_ws
t>n: ascii char_length character_length json_array_length len length ord strlen unicode
tc>n: json_array_length
tt>n: instr position strpos
t>b: json_valid
tt>b: contains ends_with prefix starts_with suffix
tc>b: json_exists regexp_full_match regexp_matches
tcc>b: regexp_full_match regexp_matches
i>n: century day dayofmonth dayofweek dayofyear decade epoch epoch_ms epoch_us hour isodow isoyear
i>n: microsecond millisecond minute month quarter second week weekday weekofyear year yearweek
i>t: dayname monthname
i>i: last_day
ci>n: date_part datepart
cii>n: date_diff date_sub datediff datesub
ci>i: date_trunc datetrunc timezone
di>i: time_bucket
ii>d: age
ic>t: strftime
tc>i: strptime try_strptime
n>i: to_timestamp
zzz>i: make_date
zzzzzn>i: make_timestamp
z>d: to_days to_decades to_hours to_minutes to_months to_quarters to_weeks to_years
n>d: to_milliseconds to_seconds
gg>g: nullif
gg*>g: greatest least
bgg>g: if
tc>l: split str_split string_split string_to_array
l>n: array_length
lz>t: array_extract list_element list_extract
lt>b: array_contains list_contains
lc>t: array_to_string
"""
#: What stands between, before or behind its arguments, by the name that DuckDB's parser gives it.
_OPERATORS: Final = """
tt>t: ||
tc>t: ->>
tt>b: ~~ !~~ ~~* !~~* ~~~
ttc>b: like_escape not_like_escape ilike_escape not_ilike_escape
nn>n: * / // % ^ **
n>n: + -
nn>n: + -
"""


def _signatures(*tables: str) -> dict[str, tuple[str, ...]]:
    """Signatures by name, as `arguments>result`."""
    listed = defaultdict(list)
    for line in filter(None, "\n".join(tables).splitlines()):
        signature, names = line.split(": ")
        for name in names.split():
            listed[name].append(signature)
    return {name: tuple(signatures) for name, signatures in listed.items()}


#: What may be called by name.
FUNCTIONS: Final = _signatures(_LISTED)
SIGNATURES: Final = _signatures(_LISTED, _OPERATORS)


def signature_of(name: str, count: int) -> tuple[str, str] | None:
    """Letters of so many arguments, and of the result; None where there is no such function."""
    for signature in SIGNATURES.get(name, ()):
        arguments, _, result = signature.partition(">")
        if arguments.endswith("*") and count >= len(arguments) - 1:
            return (arguments[:-1] + arguments[-2] * count)[:count], result
        if len(arguments) == count:
            return arguments, result
    return None
