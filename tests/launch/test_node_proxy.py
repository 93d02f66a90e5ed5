import base64
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from launch.environment import NODE_SHIM, environment_for
from launch.trust import TrustFiles
from tests.launch.conftest import HOST, Loopback

NODE = shutil.which("node")


def node_version() -> tuple[int, int]:
    if NODE is None:
        return 0, 0
    match = re.match(r"v(\d+)\.(\d+)", subprocess.run([NODE, "--version"], capture_output=True, text=True).stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


VERSION = node_version()
pytestmark = pytest.mark.skipif(VERSION < (18, 0), reason="there is no Node with a built-in fetch here")
without_native_support = pytest.mark.skipif(
    VERSION >= (24, 0) or (VERSION[0] == 22 and VERSION[1] >= 21), reason="this Node uses proxies by itself"
)


def environment(loopback: Loopback, shim: Path = NODE_SHIM, **more: str) -> dict[str, str]:
    trust = TrustFiles(loopback.ca, loopback.ca, loopback.ca, loopback.ca.parent)
    base = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **more}
    return environment_for(
        base, proxy_url=loopback.proxy_url, trust=trust, hosts=["api.openai.com"], node_shim=shim
    ).full


def run(script: str, env: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [NODE or "node", "-e", script, *arguments], env=dict(env), capture_output=True, text=True, timeout=60
    )


GET = """
    const get = (module, url, options = {}) => new Promise((resolve, reject) => module.get(url, options, (response) => {
      let text = '';
      response.on('data', (data) => { text += data; });
      response.on('end', () => resolve(text));
    }).on('error', reject));
"""


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_fetch_reaches_a_host_through_the_proxy(loopback: Loopback, scheme: str) -> None:
    script = f"fetch('{scheme}://{HOST}/a').then((r) => r.text()).then(console.log)"

    result = run(script, environment(loopback))

    assert (result.stdout, result.stderr) == ("hello /a\n", "")
    assert loopback.connects == [f"{HOST}:{443 if scheme == 'https' else 80}"]


def test_fetch_still_works_when_the_built_in_undici_was_loaded_by_something_else(loopback: Loopback) -> None:
    script = f"new Headers(); fetch('https://{HOST}/a').then((r) => r.text()).then(console.log)"

    result = run(script, environment(loopback))

    assert (result.stdout, result.stderr) == ("hello /a\n", "")


def test_a_streamed_body_arrives_piece_by_piece(loopback: Loopback) -> None:
    script = f"""(async () => {{
      const response = await fetch('https://{HOST}/stream');
      const decoder = new TextDecoder();
      for await (const piece of response.body) console.log(decoder.decode(piece));
    }})()"""

    with subprocess.Popen(
        [NODE or "node", "-e", script], env=environment(loopback), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        # The origin sends no second piece until we have read the first.
        first = process.stdout.readline()
        loopback.release.set()
        rest = process.stdout.read()

    assert (first, rest) == ("first\n", "second\n")


@pytest.mark.parametrize(
    "options",
    ["", ", {agent: new https.Agent({keepAlive: true})}", ", {agent: false}"],
    ids=["the default agent", "an agent of its own", "no agent"],
)
def test_https_requests_go_through_the_proxy_with(loopback: Loopback, options: str) -> None:
    script = f"{GET} const https = require('https'); get(https, 'https://{HOST}/b'{options}).then(console.log)"

    result = run(script, environment(loopback))

    assert (result.stdout, result.stderr) == ("hello /b\n", "")
    assert loopback.connects == [f"{HOST}:443"]


@without_native_support  # which sends the whole URL to the proxy instead of asking for a tunnel
def test_plain_http_requests_go_through_the_proxy(loopback: Loopback) -> None:
    result = run(f"{GET} get(require('http'), 'http://{HOST}/c').then(console.log)", environment(loopback))

    assert (result.stdout, result.stderr) == ("hello /c\n", "")
    assert loopback.connects == [f"{HOST}:80"]


def test_an_agent_that_wraps_its_socket_at_once_gets_one(loopback: Loopback) -> None:
    # As agentkeepalive does, which openai-node 4 brings along.
    script = f"""{GET}
      const https = require('https');
      class Wrapping extends https.Agent {{
        createConnection(options, callback) {{
          const socket = super.createConnection(options, callback);
          socket.wrapped = true;
          return socket;
        }}
      }}
      const agent = new Wrapping({{keepAlive: true}});
      get(https, 'https://{HOST}/d', {{agent}})
        .then(() => get(https, 'https://{HOST}/e', {{agent}}))
        .then(console.log);
    """

    result = run(script, environment(loopback))

    assert (result.stdout, result.stderr) == ("hello /e\n", "")
    assert set(loopback.connects) == {f"{HOST}:443"}


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_a_websocket_library_that_makes_its_own_connection_goes_through_the_proxy(
    loopback: Loopback, scheme: str
) -> None:
    # As the ws package does it.
    script = f"""
        const module = require('{scheme}');
        const tls = require('tls');
        const net = require('net');
        const make = (options) => {{
          options.path = undefined;
          if ('{scheme}' === 'http') return net.connect(options);
          return tls.connect({{ ...options, servername: options.host }});
        }};
        const request = module.request({{
          host: '{HOST}',
          path: '/a',
          headers: {{ Connection: 'Upgrade', Upgrade: 'websocket' }},
          createConnection: make,
        }});
        request.on('response', (response) => {{
          response.on('data', (data) => console.log(String(data)));
          response.on('end', () => process.exit());
        }});
        request.on('error', (error) => console.log(error.message));
        request.end();
    """

    result = run(script, environment(loopback))

    assert (result.stdout, result.stderr) == ("hello /a\n", "")
    assert loopback.connects == [f"{HOST}:{443 if scheme == 'https' else 80}"]


def test_hosts_in_no_proxy_are_reached_directly(loopback: Loopback) -> None:
    url = f"https://127.0.0.1:{loopback.https_port}"
    script = f"""{GET}
      fetch('{url}/f').then((r) => r.text()).then(console.log)
        .then(() => get(require('https'), '{url}/g')).then(console.log)
    """

    result = run(script, environment(loopback))

    assert (result.stdout, result.stderr) == ("hello /f\nhello /g\n", "")
    assert loopback.connects == []


@without_native_support
def test_the_login_in_the_proxy_url_is_given(loopback: Loopback) -> None:
    run(f"fetch('https://{HOST}/a').then((r) => r.text())", environment(loopback))

    assert loopback.logins == ["Basic " + base64.b64encode(b"user:secret").decode()]


def test_a_refusing_proxy_is_an_error_that_the_program_can_catch(loopback: Loopback) -> None:
    script = f"""{GET}
      fetch('https://refused.test/').catch((error) => console.log('fetch', error.name))
        .then(() => get(require('https'), 'https://refused.test/')).catch((error) => console.log('https', error.name))
    """

    result = run(script, environment(loopback))

    assert (result.stdout, result.stderr) == ("fetch TypeError\nhttps Error\n", "")


def test_worker_threads_and_child_processes_go_through_the_proxy_too(loopback: Loopback) -> None:
    fetching = f"fetch('https://{HOST}/w').then((r) => r.text()).then(console.log)"
    script = f"""
      const {{Worker}} = require('worker_threads');
      new Worker(process.argv[1], {{eval: true}}).on('exit', () =>
        require('child_process').execFile(process.execPath, ['-e', process.argv[1]], (_, out) => console.log(out)));
      {fetching}
    """

    result = run(script, environment(loopback), fetching)

    assert result.stdout.split("\n")[:3] == ["hello /w"] * 3
    assert len(loopback.connects) == 3


def test_the_shim_may_lie_in_a_folder_with_a_space_and_quotes_in_its_name(loopback: Loopback, tmp_path: Path) -> None:
    folder = tmp_path / 'a "folder" of someone\'s'
    folder.mkdir()
    shim = Path(shutil.copy(NODE_SHIM, folder))

    result = run(f"fetch('https://{HOST}/a').then((r) => r.text()).then(console.log)", environment(loopback, shim))

    assert (result.stdout, result.stderr) == ("hello /a\n", "")


def test_a_program_that_sends_nothing_sees_the_globals_it_knows(loopback: Loopback) -> None:
    script = """
      const before = fetch;
      console.log(typeof before, before === globalThis.fetch, before.name);
      globalThis.fetch = 1;
      console.log(fetch, Object.keys(globalThis).includes('fetch'));
    """

    result = run(script, environment(loopback))

    assert (result.stdout, result.stderr) == ("function true fetch\n1 true\n", "")


def test_a_program_may_replace_fetch_before_it_has_read_it(loopback: Loopback) -> None:
    result = run("globalThis.fetch = () => 'mine'; console.log(fetch())", environment(loopback))

    assert (result.stdout, result.stderr) == ("mine\n", "")


@without_native_support
def test_a_dispatcher_that_the_program_chose_is_left_alone(loopback: Loopback) -> None:
    script = """
      const key = Symbol.for('undici.globalDispatcher.1');
      class Mine { dispatch() { throw new Error('mine'); } }
      const mine = new Mine();
      Object.defineProperty(globalThis, key, {value: mine, writable: true});
      fetch('https://api.openai.test/').catch(() => {});
      console.log(globalThis[key] === mine);
    """

    result = run(script, environment(loopback))

    assert result.stdout == "true\n"


def test_the_shim_does_nothing_without_a_proxy(loopback: Loopback) -> None:
    env = {"PATH": os.environ["PATH"], "NODE_OPTIONS": f'--require "{NODE_SHIM}"'}
    script = "console.log(Object.getOwnPropertyDescriptor(globalThis, 'fetch').get === undefined)"

    plain, shimmed = run(script, {"PATH": env["PATH"]}), run(script, env)

    assert shimmed.stdout == plain.stdout


@pytest.mark.parametrize(
    ("version", "native"),
    [("v18.0.0", False), ("v22.20.0", False), ("v23.11.1", False), ("v22.21.0", True), ("v24.0.0", True)],
)
def test_fetch_is_left_to_the_versions_that_know_proxies(loopback: Loopback, version: str, native: bool) -> None:
    # The version is all that is pretended: the shim is loaded by hand, in a process that says it is another.
    env = environment(loopback) | {"NODE_OPTIONS": "", "NODE_USE_ENV_PROXY": ""}
    script = """
      const descriptor = () => JSON.stringify(Object.keys(Object.getOwnPropertyDescriptor(globalThis, 'fetch')));
      const before = descriptor();
      process.env.NODE_USE_ENV_PROXY = '1';
      Object.defineProperty(process, 'version', {value: process.argv[1]});
      require(process.argv[2]);
      console.log(descriptor() === before);
    """

    result = run(script, env, version, str(NODE_SHIM))

    assert result.stdout == f"{str(native).lower()}\n"


def test_a_version_that_knows_proxies_but_was_not_told_to_use_them_is_left_alone(loopback: Loopback) -> None:
    env = environment(loopback) | {"NODE_OPTIONS": "", "NODE_USE_ENV_PROXY": ""}
    script = """
      Object.defineProperty(process, 'version', {value: 'v24.0.0'});
      const {Agent} = require('https');
      const before = Agent.prototype.createConnection;
      require(process.argv[1]);
      console.log(Agent.prototype.createConnection === before);
    """

    result = run(script, env, str(NODE_SHIM))

    assert result.stdout == "true\n"
