/** What `anello quota` asks of a store: here a small HTTP server that remembers. */
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { register } from './quota.ts';

const USER = 'a'.repeat(32);
let server: Server;
let base = '';
const asked: { method: string; url: string; bytes: string | undefined }[] = [];

beforeAll(async () => {
  server = createServer((request, response) => {
    asked.push({
      method: request.method ?? '',
      url: request.url ?? '',
      bytes: request.headers['x-account-meta-quota-bytes'] as string | undefined,
    });
    const { status, headers, body } = answer(request);
    response.writeHead(status, headers).end(body && JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  vi.stubEnv('OS_USERNAME', 'admin').stubEnv('OS_PASSWORD', 'x').stubEnv('OS_PROJECT_NAME', 'p');
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await new Promise((resolve) => server.close(resolve));
});

function answer({ url = '' }: IncomingMessage): {
  status: number;
  headers?: Record<string, string>;
  body?: object;
} {
  if (url === '/v3/auth/tokens') {
    const endpoints = [{ interface: 'public', url: `${base}/v1/AUTH_p` }];
    const token = { catalog: [{ type: 'object-store', endpoints }] };
    return { status: 201, headers: { 'x-subject-token': 't' }, body: { token } };
  }
  if (url === '/v3/users?name=anna') {
    return { status: 200, body: { users: [{ id: USER, name: 'anna' }] } };
  }
  const headers = {
    'x-account-bytes-used': '7',
    'x-account-object-count': '2',
    'x-account-meta-quota-bytes': '1000',
  };
  return { status: 204, headers };
}

async function quota(...args: string[]): Promise<unknown> {
  const lines: string[] = [];
  const log = vi.spyOn(console, 'log').mockImplementation((line: string) => void lines.push(line));
  try {
    const program = new Command().exitOverride();
    register(program);
    await program.parseAsync(['quota', ...args, '--endpoint', base, '--json'], { from: 'user' });
  } finally {
    log.mockRestore();
  }
  return JSON.parse(lines.join('\n'));
}

describe("a user's quota", () => {
  it("is set at the user's account of the object store, and shown with what was written", async () => {
    const shown = await quota('set', '--user', 'anna', '--bytes', '1000');
    expect(shown).toEqual({ user: 'anna', bytes: 7, objects: 2, maxBytes: 1000 });
    const url = `/v1/.user_${USER}`;
    expect(asked).toContainEqual({ method: 'POST', url, bytes: '1000' });
    expect(asked.at(-1)).toMatchObject({ method: 'HEAD', url });
    expect(await quota('show', '--user', 'anna')).toEqual(shown);
  });

  it('is of one holder, and has no rates', async () => {
    const wrong = { code: 'wrong-use' };
    await expect(quota('show')).rejects.toMatchObject(wrong);
    await expect(quota('show', 'p', '--user', 'anna')).rejects.toMatchObject(wrong);
    const rate = quota('set', '--user', 'anna', '--requests-per-second', '1');
    await expect(rate).rejects.toMatchObject(wrong);
  });
});
