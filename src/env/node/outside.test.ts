import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isPublic, Outside } from './outside.ts';

let server: Server;
let port = 0;
const received: { host: string | undefined; url: string | undefined; body: string }[] = [];

beforeAll(async () => {
  server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString();
    });
    request.on('end', () => {
      received.push({ host: request.headers.host, url: request.url, body });
      if (request.url === '/away') response.writeHead(302, { location: '/elsewhere' });
      response.end('x'.repeat(100_000));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  port = (server.address() as AddressInfo).port;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const never = new AbortController().signal;
const event = { headers: { 'content-type': 'application/json' }, body: '{}' };

function outside(list: string[], resolved: string[] = ['127.0.0.1']): Outside {
  const addresses = resolved.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
  return new Outside(
    () => list,
    async () => addresses,
  );
}

describe('the list of receivers', () => {
  it.each([
    [[], 'https://example.org/', false],
    [['example.org'], 'https://example.org/a?b', true],
    [['example.org'], 'https://EXAMPLE.org/', true],
    [['example.org'], 'http://example.org/', true],
    [['example.org'], 'https://example.org:8443/', false],
    [['example.org:8443'], 'https://example.org:8443/', true],
    [['example.org:8443'], 'https://example.org/', false],
    [['example.org'], 'https://sub.example.org/', false],
    [['*.example.org'], 'https://sub.example.org/', true],
    [['*.example.org'], 'https://badexample.org/', false],
    [['*'], 'https://anything.net/', true],
    [['*'], 'https://8.8.8.8/', false],
    [['*'], 'http://[::1]/', false],
    [['8.8.8.8'], 'https://8.8.8.8:9/', true],
    [['10.0.0.0/8'], 'http://10.1.2.3/', true],
    [['10.0.0.0/8'], 'http://11.1.2.3/', false],
    [['127.0.0.1'], 'http://0x7f.1/', true], // The same address: URLs know one form of it.
    [['fd00::/8'], 'http://[fd12::1]/', true],
    [['*'], 'ftp://example.org/', false],
    [['*'], 'https://user:secret@example.org/', false],
    [['*'], 'no url', false],
    [['*'], `https://example.org/${'x'.repeat(3000)}`, false],
  ])('%j: %s is %s', (list, url, allowed) => {
    expect(outside(list).allows(url)).toBe(allowed);
  });
});

describe('a request to the outside', () => {
  it('reaches a listed address and tells the status', async () => {
    const url = `http://127.0.0.1:${port}/hook`;
    expect(await outside(['127.0.0.1']).post(url, event, never)).toBe(200);
    expect(received.at(-1)).toEqual({ host: `127.0.0.1:${port}`, url: '/hook', body: '{}' });
  });

  it('reaches a private address behind a name only where both are listed', async () => {
    const url = `http://hook.test:${port}/named`;
    const before = received.length;
    for (const list of [[`hook.test:${port}`], ['127.0.0.1'], ['*']]) {
      await expect(outside(list).post(url, event, never)).rejects.toMatchObject({
        code: 'not-allowed',
      });
    }
    expect(received.length).toBe(before);
    expect(await outside([`hook.test:${port}`, '127.0.0.0/8']).post(url, event, never)).toBe(200);
    expect(received.at(-1)).toMatchObject({ host: `hook.test:${port}`, url: '/named' });
  });

  it('goes nowhere when any address of a name is private', async () => {
    const mixed = outside([`hook.test:${port}`], ['93.184.216.34', '127.0.0.1']);
    await expect(mixed.post(`http://hook.test:${port}/`, event, never)).rejects.toMatchObject({
      code: 'not-allowed',
    });
  });

  it('follows no redirection', async () => {
    const url = `http://127.0.0.1:${port}/away`;
    expect(await outside(['127.0.0.1']).post(url, event, never)).toBe(302);
    expect(received.at(-1)).toMatchObject({ url: '/away' });
  });

  it('ends when it is called off', async () => {
    const signal = AbortSignal.abort(new Error('stopped'));
    const url = `http://127.0.0.1:${port}/`;
    await expect(outside(['127.0.0.1']).post(url, event, signal)).rejects.toThrow();
  });
});

describe('addresses that are public', () => {
  it.each([
    ...['0.0.0.0', '10.9.8.7', '100.64.0.1', '127.0.0.1', '169.254.169.254', '172.31.0.1'],
    ...['192.168.1.1', '198.18.0.1', '224.0.0.1', '255.255.255.255', '::', '::1', 'fe80::1'],
    ...['fd00::1', 'ff02::1', '::ffff:10.0.0.1', '::ffff:7f00:1', '64:ff9b::a00:1', '2002:a00:1::'],
    ...['2001:db8::1', 'nonsense'],
  ])('%s is not', (address) => {
    expect(isPublic(address)).toBe(false);
  });

  it.each(['8.8.8.8', '172.32.0.1', '2606:4700::1111', '::ffff:8.8.8.8'])('%s is', (address) => {
    expect(isPublic(address)).toBe(true);
  });
});
