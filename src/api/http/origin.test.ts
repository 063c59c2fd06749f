import { describe, expect, it } from 'vitest';
import { type Origin, originBehind } from './origin.ts';

/** What is found for a request that came over a plain socket from `peer`. */
function found(trusted: string[], peer: string | undefined, headers: object = {}): Origin {
  const told = headers as Readonly<Record<string, string | undefined>>;
  const hop = { address: peer, isSecure: false, header: (name: string) => told[name] };
  return originBehind(trusted)(hop);
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
    ['a socket that is gone', undefined, '10.2.2.2', 'unknown'],
  ])('%s', (_name, peer, forwarded, expected) => {
    expect(found(BALANCERS, peer, { 'x-forwarded-for': forwarded }).address).toBe(expected);
  });

  it('trusts nobody unless told to, and reads no endless list', () => {
    expect(found([], '10.1.1.1', { 'x-forwarded-for': '1.2.3.4' }).address).toBe('10.1.1.1');
    const endless = { 'x-forwarded-for': '10.1.1.2,'.repeat(10_000) };
    expect(found(['10.0.0.0/8'], '10.1.1.1', endless).address).toMatch(/^10\./);
  });
});

describe("the client's TLS", () => {
  it('may end at a balancer, if it is ours', () => {
    const headers = { 'x-forwarded-proto': 'https' };
    expect(found(BALANCERS, '10.1.1.1', headers).isSecure).toBe(true);
    expect(found(BALANCERS, '198.51.100.1', headers).isSecure).toBe(false);
    expect(found(BALANCERS, '10.1.1.1', { 'x-forwarded-proto': 'http' }).isSecure).toBe(false);
  });
});
