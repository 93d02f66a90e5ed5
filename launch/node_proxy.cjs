// Sends an old Node's connections through the proxy that HTTPS_PROXY and HTTP_PROXY name.
//
// Preloaded by NODE_OPTIONS=--require. Node >= 22.21 and >= 24 use proxies by themselves when NODE_USE_ENV_PROXY is 1,
// for fetch and (from 24.5) for the default agents of http and https. What they leave out is an agent that a library
// makes for itself, as openai-node 4 does: there only such agents are covered, and without that variable nothing is.
// Three rules hold throughout: no output, no npm package, and nothing is loaded until a program asks for it. The syntax
// is old on purpose: any Node may be handed this file.
//
// fetch. Node's built-in undici shares its dispatcher with every other copy of undici through one symbol. Loading it
// takes about 30 ms, so this waits until something reads globalThis.fetch or globalThis.WebSocket, or until an undici
// from npm looks for the dispatcher. Then the dispatcher's own class makes another of its kind, whose `connect` goes
// through the proxy.
//
// http and https. The agents' createConnection is replaced, so that agents made by libraries are covered too. An agent
// that calls it the way Node does can wait for a callback. An agent that wraps it expects a socket at once, and gets a
// TLS socket on a stream that starts moving when the tunnel stands. The ws package has no agent at all: the connection
// that it makes for itself is made on such a stream.
'use strict';

(function () {
  const version = /^v(\d+)\.(\d+)/.exec(process.version) || [];
  const major = Number(version[1]);
  const minor = Number(version[2]);
  const native = major >= 24 || (major === 22 && minor >= 21);
  if (process.versions.bun || process.versions.deno) return;
  if (native && process.env.NODE_USE_ENV_PROXY !== '1') return;

  const LOADED = Symbol.for('understudy.node_proxy'); // NODE_OPTIONS may name this file twice
  if (process[LOADED]) return;
  Object.defineProperty(process, LOADED, { value: true });

  const CONNECT_TIMEOUT_MS = 10000; // undici's own default
  const DISPATCHER = Symbol.for('undici.globalDispatcher.1');

  const env = process.env;
  const proxies = {
    'https:': parseProxy(env.https_proxy || env.HTTPS_PROXY || env.all_proxy || env.ALL_PROXY),
    'http:': parseProxy(env.http_proxy || env.HTTP_PROXY || env.all_proxy || env.ALL_PROXY),
  };
  if (!proxies['https:'] && !proxies['http:']) return;
  const bypass = parseBypass(env.no_proxy || env.NO_PROXY || '');

  function parseProxy(value) {
    if (!value) return null;
    try {
      const url = new URL(value.indexOf('://') < 0 ? 'http://' + value : value);
      if (url.protocol !== 'http:') return null;
      const proxy = { host: unbracket(url.hostname), port: Number(url.port || 80), headers: {} };
      if (url.username || url.password) {
        const login = decodeURIComponent(url.username) + ':' + decodeURIComponent(url.password);
        proxy.headers['Proxy-Authorization'] = 'Basic ' + Buffer.from(login).toString('base64');
      }
      return proxy;
    } catch (_) {
      return null;
    }
  }

  function unbracket(host) {
    return host.charAt(0) === '[' ? host.slice(1, -1) : host;
  }

  function parseBypass(list) {
    return list.split(/[\s,]+/).filter(Boolean).map(function (entry) {
      const match = /^(?:\[(.+)\]|([^:]+)|(.+?))(?::(\d+))?$/.exec(entry.toLowerCase());
      const bare = /^[^[].*:.*:/.test(entry); // an IPv6 address without brackets has no port
      const host = bare ? entry.toLowerCase() : (match[1] || match[2] || match[3]);
      return { host: host.replace(/^\*?\./, ''), port: bare || !match[4] ? 0 : Number(match[4]) };
    });
  }

  // The proxy for a target, or null when the target is to be reached directly.
  function proxyFor(protocol, hostname, port) {
    const proxy = proxies[protocol];
    if (!proxy || !hostname) return null;
    const host = unbracket(String(hostname).toLowerCase());
    if (host === proxy.host && port === proxy.port) return null;
    const direct = bypass.some(function (entry) {
      if (entry.port && entry.port !== port) return false;
      return entry.host === '*' || host === entry.host || host.endsWith('.' + entry.host);
    });
    return direct ? null : proxy;
  }

  // Opens a tunnel and calls back once, with an error or with a connected socket.
  // Returns the request, whose socket can be unref'ed while it waits.
  function tunnel(proxy, hostname, port, callback) {
    const host = unbracket(hostname);
    const authority = (host.indexOf(':') < 0 ? host : '[' + host + ']') + ':' + port;
    const request = require('http').request({
      method: 'CONNECT',
      host: proxy.host,
      port: proxy.port,
      path: authority,
      headers: Object.assign({ Host: authority }, proxy.headers),
      createConnection: function () {
        return require('net').connect({ host: proxy.host, port: proxy.port });
      },
    });
    let done = false;
    function finish(error, socket) {
      if (done) return;
      done = true;
      if (error && !error.code) error.code = 'ECONNREFUSED';
      callback(error, socket);
    }
    request.setTimeout(CONNECT_TIMEOUT_MS, function () {
      request.destroy(Object.assign(new Error('The proxy did not answer in time'), { code: 'UND_ERR_CONNECT_TIMEOUT' }));
    });
    request.on('error', finish);
    request.on('response', function (response) {
      response.resume();
      finish(new Error('The proxy answered CONNECT with ' + response.statusCode));
    });
    request.on('connect', function (response, socket, head) {
      socket.setTimeout(0);
      if (response.statusCode !== 200) {
        socket.destroy();
        finish(new Error('The proxy answered CONNECT with ' + response.statusCode));
        return;
      }
      socket.on('error', function () {}); // told to whoever wraps the socket; unheard here it would end the process
      if (head.length) socket.unshift(head);
      finish(null, socket);
    });
    request.end();
    return request;
  }

  // `host` is what the certificate is checked against where there is no server name, as for an address.
  function tlsOptions(options) {
    const host = unbracket(options.hostname);
    const name = options.servername || host;
    const result = { host: host, ALPNProtocols: ['http/1.1'] };
    if (!require('net').isIP(name)) result.servername = name;
    return result;
  }

  // What undici calls for a new connection: {protocol, hostname, port, servername, ...}.
  function connectThrough(original) {
    return function connect(options, callback) {
      const isTls = options.protocol === 'https:';
      const port = Number(options.port) || (isTls ? 443 : 80);
      const proxy = options.socketPath ? null : proxyFor(options.protocol, options.hostname, port);
      if (!proxy) return original(options, callback);
      tunnel(proxy, options.hostname, port, function (error, raw) {
        if (error) return callback(error);
        raw.setNoDelay(true);
        if (!isTls) return callback(null, raw);
        const socket = require('tls').connect(Object.assign(tlsOptions(options), { socket: raw }));
        socket.once('secureConnect', function () {
          socket.removeListener('error', callback);
          callback(null, socket);
        });
        socket.once('error', callback);
      });
      return undefined;
    };
  }

  // A direct connection, made as undici makes its own.
  function connectDirectly(options, callback) {
    const isTls = options.protocol === 'https:';
    const target = {
      host: unbracket(options.hostname),
      port: Number(options.port) || (isTls ? 443 : 80),
      localAddress: options.localAddress,
    };
    if (isTls) Object.assign(target, tlsOptions(options));
    const socket = isTls ? require('tls').connect(target) : require('net').connect(target);
    socket.setNoDelay(true);
    const timer = setTimeout(function () {
      socket.destroy(Object.assign(new Error('Connect Timeout Error'), { code: 'UND_ERR_CONNECT_TIMEOUT' }));
    }, CONNECT_TIMEOUT_MS);
    function failed(error) {
      clearTimeout(timer);
      callback(error);
    }
    socket.once(isTls ? 'secureConnect' : 'connect', function () {
      clearTimeout(timer);
      socket.removeListener('error', failed);
      callback(null, socket);
    });
    socket.once('error', failed);
    return socket;
  }

  function coverFetch() {
    const names = ['fetch', 'WebSocket', 'EventSource'].filter(function (name) {
      const found = Object.getOwnPropertyDescriptor(globalThis, name);
      return found && found.configurable;
    });
    const originals = names.map(function (name) {
      return Object.getOwnPropertyDescriptor(globalThis, name);
    });
    const fetch = globalThis.fetch;
    let busy = false;
    let installed = false;

    function install() {
      if (busy || installed) return;
      busy = true;
      try {
        fetch('data:,').catch(function () {}); // loads the built-in undici; touches no network
        const current = globalThis[DISPATCHER];
        // Anything but a plain Agent is a dispatcher that the program chose: a proxy of its own, a mock.
        if (current && current.constructor.name === 'Agent') {
          globalThis[DISPATCHER] = new current.constructor({ connect: connectThrough(connectDirectly) });
          installed = true;
        }
      } catch (_) {
        // The program's fetch stays as it was.
      }
      busy = false;
    }

    names.forEach(function (name, index) {
      function put(descriptor) {
        Object.defineProperty(globalThis, name, descriptor);
      }
      put({
        configurable: true,
        enumerable: originals[index].enumerable,
        get: function () {
          put(originals[index]);
          install();
          return globalThis[name];
        },
        set: function (value) {
          put({ value: value, writable: true, configurable: true, enumerable: originals[index].enumerable });
        },
      });
    });

    // An undici from npm asks for the dispatcher while it loads, and makes its own if it finds none.
    // So does the built-in one, on its first use: for that one the answer is undefined, because loading it
    // again from here would hand half a module to Node's fetch, for good.
    Object.defineProperty(globalThis, DISPATCHER, {
      configurable: true,
      get: function () {
        const stack = new Error().stack;
        if (busy || typeof stack !== 'string' || stack.indexOf('node:internal/deps/undici') >= 0) return undefined;
        install();
        const found = Object.getOwnPropertyDescriptor(globalThis, DISPATCHER);
        return found && found.value;
      },
      set: function (value) {
        Object.defineProperty(globalThis, DISPATCHER, { value: value, writable: true, configurable: true });
      },
    });
  }

  // A stream that holds what is written to it until the tunnel stands.
  function waitingTunnel(proxy, hostname, port) {
    let raw = null;
    let start = null;
    let wantsRef = true;
    const stream = new (require('stream').Duplex)({
      read: function () {
        if (raw) raw.resume();
      },
      write: function (chunk, encoding, callback) {
        if (raw) raw.write(chunk, encoding, callback);
        else start = function () { raw.write(chunk, encoding, callback); };
      },
      final: function (callback) {
        if (raw) raw.end(callback);
        else callback();
      },
      destroy: function (error, callback) {
        request.destroy();
        if (raw) raw.destroy();
        callback(error);
      },
    });
    const request = tunnel(proxy, hostname, port, function (error, socket) {
      if (error) return stream.destroy(error);
      if (stream.destroyed) return socket.destroy();
      raw = socket;
      if (!wantsRef) raw.unref();
      raw.on('data', function (chunk) {
        if (!stream.push(chunk)) raw.pause();
      });
      raw.on('end', function () { stream.push(null); });
      raw.on('error', function (failure) { stream.destroy(failure); });
      raw.on('close', function () { stream.destroy(); });
      if (start) start();
    });
    stream.setReferenced = function (wanted) {
      wantsRef = wanted;
      const socket = raw || request.socket;
      if (socket) socket[wanted ? 'ref' : 'unref']();
    };
    return stream;
  }

  function coverAgent(prototype, protocol, defaultPort) {
    const original = prototype.createConnection;
    function createConnection(first, second, third) {
      const options = first;
      const callback = typeof second === 'function' ? second : third;
      if (!options || typeof options !== 'object' || options.socket || options.socketPath) {
        return original.apply(this, arguments);
      }
      const agent = this;
      if (agent && agent.options && agent.options.proxyEnv) return original.apply(this, arguments); // Node does it
      const hostname = options.host || options.hostname || 'localhost';
      const port = Number(options.port) || defaultPort;
      const proxy = proxyFor(protocol, hostname, port);
      if (!proxy) return original.apply(this, arguments);

      if (callback && agent.createConnection === createConnection) {
        tunnel(proxy, hostname, port, function (error, raw) {
          if (error) return callback(error);
          if (protocol === 'http:') return callback(null, raw);
          try {
            callback(null, original.call(agent, Object.assign({}, options, { socket: raw })));
          } catch (failure) {
            raw.destroy();
            callback(failure);
          }
        });
        return undefined;
      }
      if (protocol === 'http:') return original.apply(this, arguments);
      const stream = waitingTunnel(proxy, hostname, port);
      const socket = original.call(agent, Object.assign({}, options, { socket: stream }));
      ['ref', 'unref'].forEach(function (name) {
        const inherited = socket[name];
        socket[name] = function () {
          stream.setReferenced(name === 'ref');
          return inherited.call(socket);
        };
      });
      return socket;
    }
    prototype.createConnection = createConnection;
  }

  // The ws package asks by http or https, and makes the connection itself. What it makes it on is given to it here.
  function coverUpgrades(module, protocol, defaultPort) {
    function covered(original) {
      return function (first, second, third) {
        const options = [first, second].filter(function (each) {
          return each && typeof each === 'object' && typeof each.createConnection === 'function';
        })[0];
        if (options && upgrades(options.headers)) {
          const url = typeof first === 'string' ? new URL(first) : first instanceof URL ? first : {};
          const hostname = options.hostname || options.host || url.hostname;
          const port = Number(options.port || url.port) || defaultPort;
          const proxy = options.socketPath ? null : proxyFor(protocol, hostname, port);
          if (proxy) {
            const make = options.createConnection;
            const through = Object.assign({}, options, {
              createConnection: function (target, callback) {
                const stream = waitingTunnel(proxy, hostname, port);
                return protocol === 'http:' ? stream : make(Object.assign({}, target, { socket: stream }), callback);
              },
            });
            return options === first ? original(through, second, third) : original(first, through, third);
          }
        }
        return original.apply(this, arguments);
      };
    }
    module.request = covered(module.request);
    module.get = covered(module.get);
  }

  function upgrades(headers) {
    return Object.keys(headers || {}).some(function (name) {
      return name.toLowerCase() === 'upgrade' && String(headers[name]).toLowerCase() === 'websocket';
    });
  }

  // Better a program without the proxy than a program that does not start.
  function attempt(cover) {
    try {
      cover();
    } catch (_) {
      // Left as it was.
    }
  }
  attempt(function () {
    if (!native && typeof globalThis.fetch === 'function') coverFetch();
  });
  attempt(function () {
    if (proxies['http:']) coverAgent(require('http').Agent.prototype, 'http:', 80);
  });
  attempt(function () {
    if (proxies['https:']) coverAgent(require('https').Agent.prototype, 'https:', 443);
  });
  attempt(function () {
    if (proxies['https:']) coverUpgrades(require('https'), 'https:', 443);
    if (proxies['http:']) coverUpgrades(require('http'), 'http:', 80);
    require('module').syncBuiltinESMExports();
  });
})();
