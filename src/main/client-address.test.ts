import { Hono } from 'hono';
import { describe, expect, it } from 'vitest';
import { clientAddressBehind } from './client-address.ts';

/** What is found for a request that came over a socket from `peer`. */
async function found(trusted: string[], peer: string, forwarded?: string): Promise<string> {
  const addressOf = clientAddressBehind(trusted);
  const app = new Hono();
  app.get('/', (c) => c.text(addressOf(c)));
  const headers = forwarded === undefined ? {} : { 'X-Forwarded-For': forwarded };
  const bindings = { incoming: { socket: { remoteAddress: peer } } };
  return (await app.request('/', { headers }, bindings)).text();
}

const BALANCERS = ['10.0.0.0/8', '192.0.2.7', 'fd00::/8'];

describe("the client's address", () => {
  it.each([
    ['the socket tells it where nobody is in between', '198.51.100.1', undefined, '198.51.100.1'],
    ['a stranger can say nothing', '198.51.100.1', '1.2.3.4', '198.51.100.1'],
    ['a balancer tells it', '10.1.1.1', '198.51.100.1', '198.51.100.1'],
    ['only what a balancer appended counts', '10.1.1.1', '6.6.6.6, 198.51.100.1', '198.51.100.1'],
    ['two balancers in a row', '192.0.2.7', '6.6.6.6,198.51.100.1, 10.9.9.9', '198.51.100.1'],
    ['IPv6, and IPv4 on its sockets', '::ffff:10.1.1.1', 'fd00::1, 2001:db8::9', '2001:db8::9'],
    ['a balancer that says nothing, or nonsense', '10.1.1.1', 'unknown', '10.1.1.1'],
    ['nobody before the balancers', '10.1.1.1', '10.2.2.2', '10.2.2.2'],
  ])('%s', async (_name, peer, forwarded, expected) => {
    expect(await found(BALANCERS, peer, forwarded)).toBe(expected);
  });

  it('trusts nobody unless told to, and reads no endless list', async () => {
    expect(await found([], '10.1.1.1', '1.2.3.4')).toBe('10.1.1.1');
    expect(await found(['10.0.0.0/8'], '10.1.1.1', '10.1.1.2,'.repeat(10_000))).toMatch(/^10\./);
  });
});
