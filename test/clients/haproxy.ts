/** HAProxy in front of a cluster's proxies and identity services, as an operator would put it there. */
import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';

export interface Balanced {
  readonly data: string;
  readonly identity: string;
  stop(): Promise<void>;
}

/** Requests that a dying server left unanswered are sent to the next one: they fit into a buffer. */
const CONFIG = (
  dataPort: number,
  identityPort: number,
  data: readonly number[],
  identity: readonly number[],
): string => `
global
    maxconn 1000
    tune.bufsize 65536
defaults
    mode http
    option http-buffer-request
    option redispatch 1
    option forwardfor
    retries 5
    retry-on conn-failure empty-response response-timeout 500 502 503 504
    timeout connect 1s
    timeout client 30s
    timeout server 15s
    timeout check 2s
    default-server inter 500ms fastinter 200ms fall 2 rise 2 on-marked-down shutdown-sessions
frontend data
    bind 127.0.0.1:${dataPort}
    default_backend proxies
frontend identity
    bind 127.0.0.1:${identityPort}
    default_backend identities
backend proxies
    option httpchk GET /healthcheck
${servers(data)}
backend identities
    option httpchk GET /healthcheck
${servers(identity)}
`;

function servers(ports: readonly number[]): string {
  return ports.map((port, n) => `    server s${n} 127.0.0.1:${port} check`).join('\n');
}

export async function balance(
  folder: string,
  ports: { readonly data: readonly number[]; readonly identity: readonly number[] },
): Promise<Balanced> {
  const [dataPort, identityPort] = [await freePort(), await freePort()];
  const file = path.join(folder, 'haproxy.cfg');
  writeFileSync(file, CONFIG(dataPort, identityPort, ports.data, ports.identity));
  const child = spawn('haproxy', ['-db', '-q', '-f', file], { stdio: 'ignore' });
  const [data, identity] = [dataPort, identityPort].map((port) => `http://127.0.0.1:${port}`);
  for (const url of [data!, identity!]) await answers(child, `${url}/healthcheck`);
  return {
    data: data!,
    identity: identity!,
    stop: () =>
      new Promise((resolve) => {
        child.once('exit', () => resolve());
        child.kill('SIGTERM');
      }),
  };
}

async function answers(child: ChildProcess, url: string): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (child.exitCode === null && performance.now() < deadline) {
    const ok = await fetch(url)
      .then((answer) => answer.ok)
      .catch(() => false);
    if (ok) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`haproxy does not answer at ${url}`);
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const address = probe.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      probe.close(() => resolve(port));
    });
  });
}
