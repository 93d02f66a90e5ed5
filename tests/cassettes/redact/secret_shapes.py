"""What secrets look like, as templates: the secrets themselves are made when a test runs, and none stands here.

``{a20}`` is twenty letters and digits, ``{h32}`` hexadecimal digits, ``{u16}`` capitals and digits, ``{t20}`` also has
``-`` and ``_``, ``{b40}`` base64, ``{d9}`` digits. A ``|`` is left out: it keeps scanners of source code quiet. What
stands between ``«`` and ``»`` is the secret; without these all of it is.
"""

import random
import re

_ALPHABETS = {
    "a": "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
    "h": "0123456789abcdef",
    "u": "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
    "t": "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-",
    "b": "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    "d": "123456789",
}
_FIELD = re.compile(r"\{([ahutbd])(\d+)\}")

TEMPLATES = """
sk|-{a48}
sk|-proj-{t60}
sk|-svcacct-{t60}
sk|-admin-{t60}
sk|-ant-api03-{t93}AA
sk|-ant-admin01-{t93}AA
sk|-ant-oat01-{t93}AA
sk|-or-v1-{h64}
sk|-lf-{h8}-{h4}-{h4}-{h4}-{h12}
pk|-lf-{h8}-{h4}-{h4}-{h4}-{h12}
sess|-{a40}
ek|_{a32}
gsk|_{a52}
xai|-{a80}
nvapi|-{t64}
lsv2|_pt_{h32}_{h10}
lsv2|_sk_{h32}_{h10}
hf|_{a34}
api|_org_{a34}
r8|_{a37}
pplx|-{a48}
fw|_{a24}
tgp|_v1_{t43}
csk|-{a48}
tvly|-dev-{a32}
fc|-{h32}
pcsk|_{a6}_{a63}
e2b|_{h40}
rpa|_{u40}
jina|_{a60}
sk|_{h48}
ABSK|{b108}
ABSK|QmVkcm9ja0FQSUtleS{b100}
bedrock|-api-key-{b80}
AKIA|{u16}
ASIA|{u16}
AIza|{t35}
GOCSPX|-{t28}
ya29|.{t68}
1|//0{t60}
{a3}8Q|~{t31}
«{t44}AzFu|{t6}A»==
{a42}AzSe|A{a7}
{b76}+ASt|{b6}==
{a76}AZDO|{a4}
DefaultEndpointsProtocol=https;AccountName=x;Account|Key=«{b86}==»;EndpointSuffix=core.windows.net
Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=a;SharedAccess|Key=«{b43}=»
https://x.blob.core.windows.net/c/b?sv=2024-01-01&se=2030&s|ig=«{a40}%2B%3D»
https://b.s3.amazonaws.com/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=«AKIA|{u16}»%2F20240101
https://b.s3.amazonaws.com/k?X-Amz-Date=1&X-Amz-Sig|nature=«{h64}»
https://b.s3.amazonaws.com/k?X-Amz-Security-To|ken=«{a200}»
https://storage.googleapis.com/b/o?X-Goog-Sig|nature=«{h128}»
https://d1.cloudfront.net/a?Expires=1&Sig|nature=«{a120}»&Key-Pair-Id=K1
dop|_v1_{h64}
doo|_v1_{h64}
dor|_v1_{h64}
dapi|{h32}
dapi|{h32}-2
hvs|.{t90}
hvb|.{t120}
{a14}.atlasv1|.{t64}
LTAI|{a20}
AKID|{a32}
AQVN|{t38}
sha256|~{t43}
glsa|_{a32}_{h8}
glc|_{b60}
eyJr|Ijoi{b70}
NRAK|-{u27}
NRJS|-{h19}
NRII|-{t32}
ATATT3|xFfGF0{t180}
ATCTT3|xFfGN0{t170}
ATBB|{a32}
ntn|_{a46}
secret|_{a43}
lin|_api_{a40}
lin|_oauth_{h64}
figd|_{t40}
pat|{a14}.{h64}
{d1}/{d16}|:{h32}
PMAK|-{h24}-{h34}
CFPAT|-{t43}
sgp|_{h40}
phx|_{a43}
pat|-na1-{h8}-{h4}-{h4}-{h4}-{h12}
tfp|_{t59}
rdme|_{h70}
ghp|_{a36}
gho|_{a36}
ghu|_{a36}
ghs|_{a36}
ghr|_{a36}
github|_pat_{a22}_{a59}
glpat|-{t20}
glpat|-{t27}.01.{h9}
glrt|-{t20}
gldt|-{t20}
glcbt|-{h2}_{t20}
glptt|-{h40}
glft|-{t20}
glimt|-{t25}
glagent|-{t50}
gloas|-{h64}
glsoat|-{t20}
GR1348941|{t20}
npm|_{a36}
pypi|-AgEIcHlwaS5vcmc{t100}
rubygems|_{h48}
CLOJARS|_{h60}
cio|{a32}
oy2|{h43}
dckr|_pat_{t27}
dckr|_oat_{t32}
CCIPAT|_{a22}_{h40}
bkua|_{h40}
nfp|_{a36}
sbp|_{h40}
sb|_secret_{t31}
squ|_{h40}
sqp|_{h40}
pul|-{h40}
ico|-{a32}
sntrys|_{b100}
sntryu|_{h64}
snyk|_{a40}
dp.pt|.{a43}
dp.st|.dev.{a43}
AKCp|{a69}
cmVmdGtu|{a56}
HRKU|-{h8}-{h4}-{h4}-{h4}-{h12}
pnu|_{a36}
pscale|_tkn_{t43}
pscale|_pw_{t43}
napi|_{a60}
tskey|-auth-{a12}CNTRL-{a32}
fm2|_{b100}
dt0c01|.{u24}.{u64}
v1.0|-{h24}-{h146}
API|-{u26}
ops|_eyJ{b200}
xoxb|-{d12}-{d12}-{a24}
xoxp|-{d12}-{d12}-{d12}-{h32}
xoxa|-2-{d12}-{a24}
xoxc|-{d12}-{d12}-{a24}
xoxd|-{a80}
xoxe|.xoxp-1-{t160}
xapp|-1-A{u10}-{d13}-{h64}
https://hooks.slack.com/serv|ices/«T{u10}/B{u10}/{a24}»
https://hooks.slack.com/work|flows/«T{u10}/A{u10}/{d18}/{a24}»
https://discord.com/api/web|hooks/«{d18}/{t68}»
https://discordapp.com/api/web|hooks/«{d18}/{t68}»
https://x.webhook.office.com/web|hookb2/«{h8}-{h4}-{h4}-{h4}-{h12}@{h32}/IncomingWebhook/{h32}»
https://hooks.zapier.com/hooks/cat|ch/«{d7}/{a8}»
https://maker.ifttt.com/trigger/x/with/|key/«{t43}»
MTA{a21}|.{t6}.{t38}
{d10}|:AA{t33}
SG|.{t22}.{t43}
key|-{h32}
{h32}|-us12
SK|{h32}
AC|{h32}
xkeysib|-{h64}-{a16}
re|_{a8}_{a24}
VF|.DM.{h24}.{a16}
sk|_live_{a24}
sk|_test_{a24}
rk|_live_{a24}
whsec|_{b32}
sq0atp|-{t22}
sq0csp|-{t43}
EAAAE|{t59}
EAA|{a160}
rzp|_live_{a14}
FLWSECK|-{h32}-X
access|-sandbox-{h8}-{h4}-{h4}-{h4}-{h12}
access|_token$production${h16}${h32}
shpat|_{h32}
shpss|_{h32}
EZAK|{a64}
shippo|_live_{h40}
duffel|_test_{t43}
sl|.{t130}
AGE-SECRET|-KEY-1{u58}
sdk|-{h8}-{h4}-{h4}-{h4}-{h12}
waka|_{h8}-{h4}-{h4}-{h4}-{h12}
eyJ|hbGciOiJIUzI1NiJ9.eyJ{a40}.{t43}
https://«{a40}»|@github.com/a/b.git
https://x-access-token:«{a36}»|@github.com/a/b.git
postgres://ann:«{a16}»|@db/x
redis://:«{a16}»|@cache:6379/0
Authorization: to|ken «{h40}»
Authorization: Bear|er «{t40}»
Authorization: Ba|sic «{b32}»
Authorization: B|ot «{a40}»
X-Api-K|ey: «{a32}»
STRIPE_K|EY=«{a24}»
export SMTP_PA|SS=«{a14}»
DATABASE_PASS|WORD="«{a14}»"
MY_SEC|RET: «{a24}»
aws_secret_access_|key = «{b40}»
//registry.npmjs.org/:_authTo|ken=«{h8}-{h4}-{h4}-{h4}-{h12}»
machine api.example.com login me pass|word «{a16}»
curl -u me:«{a16}»| https://example.com
mysql --pass|word=«{a16}» -u root
{"client_sec|ret": "«{a32}»"}
"""


def made() -> list[tuple[str, str, str]]:
    """Return (template, text, the secret in it) for each shape."""
    seeded = random.Random(2026)
    found = []
    for template in TEMPLATES.split("\n"):
        if not template:
            continue
        text = _FIELD.sub(lambda field: _some(seeded, field[1], int(field[2])), template.replace("|", ""))
        before, mark, rest = text.partition("«")
        secret, _, after = rest.partition("»")
        found.append((template, before + secret + after, secret) if mark else (template, text, text))
    return found


def _some(seeded: random.Random, alphabet: str, count: int) -> str:
    """Draw characters; one of them is a digit, where there are enough."""
    drawn = seeded.choices(_ALPHABETS[alphabet], k=count)
    if count > 5:
        drawn[3] = "7"
        drawn[0] = drawn[0].replace("-", "x").replace("_", "x").replace("+", "x").replace("/", "x")
        drawn[-1] = drawn[-1].replace("-", "x").replace("_", "x")
    return "".join(drawn)
