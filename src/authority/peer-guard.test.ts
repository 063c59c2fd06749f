/** Real endpoints with certificates of the cluster's own authority: who gets in, and what it may call. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { HybridClock } from '#base/hybrid-clock.ts';
import type { Address, TlsOptions } from '#env/env.ts';
import { createNodeEnv } from '#env/node/node-env.ts';
import { WireError } from '#wire/contract.ts';
import { Endpoint } from '#wire/endpoint.ts';
import {
  certifyNode,
  createCertificateAuthority,
  createRequest,
  type KeyPair,
  newPrivateKey,
} from './certificates.ts';
import { createPeerGuard } from './peer-guard.ts';

const env = createNodeEnv({ logLevel: 'silent' });
const CALL = { txn: 'tx1', deadlineMs: 120_000 };
const ID = 'a'.repeat(32);
const known = new Map<string, { address: Address; tls: TlsOptions }>();
const revoked = new Set<string>();
const closing: Endpoint[] = [];
let authority: KeyPair;

beforeAll(() => {
  authority = createCertificateAuthority(ID, now());
});
afterEach(async () => {
  for (const endpoint of closing.splice(0)) await endpoint.close();
  revoked.clear();
  known.clear();
});
afterAll(() => env.close());

function now() {
  return { random: env.random, nowMs: env.clock.wallMicros() / 1000 };
}

function certificateOf(name: string, roles: string[], site = 'bari', clusterId = ID): TlsOptions {
  const key = newPrivateKey();
  const subject = { clusterId, name, site, roles, hosts: ['127.0.0.1'] };
  const issuance = { ...now(), days: 30 };
  const certificate = certifyNode(authority, createRequest(key, 'whoever'), subject, issuance);
  return { key, certificate, authority: authority.certificate };
}

async function start(node: string, tls: TlsOptions): Promise<Endpoint> {
  const clock = new HybridClock({
    workerId: node.length,
    wallMicros: () => env.clock.wallMicros(),
    bound: 0,
    reserve: () => undefined,
  });
  const endpoint = new Endpoint({
    env,
    clock,
    cluster: { clusterId: ID, sharedKey: env.random.bytes(32) },
    self: { node, site: 'bari' },
    peers: {
      lookup: (name) => {
        const peer = known.get(name);
        return peer && { address: peer.address, site: 'bari', tls: { ...tls, serverName: name } };
      },
    },
    guard: createPeerGuard(ID, { isRevoked: (name) => revoked.has(name) }),
  });
  for (const method of ['object.write', 'object.states', 'device.status', 'repair.compare'])
    endpoint.handle(method, () => ({ result: method }));
  const address = await endpoint.listen({ host: '127.0.0.1', port: 0 }, { tls });
  known.set(node, { address, tls });
  closing.push(endpoint);
  return endpoint;
}

async function outcome(from: Endpoint, to: string, method: string): Promise<unknown> {
  try {
    return (await from.call(to, method, {}, CALL)).result;
  } catch (error) {
    return error instanceof WireError ? error.code : error;
  }
}

describe('peers with certificates', () => {
  it('a role may make its calls and no others', async () => {
    await start('store', certificateOf('store', ['storage']));
    const proxy = await start('front', certificateOf('front', ['proxy']));
    const storage = await start('other', certificateOf('other', ['storage', 'proxy']));
    const identity = await start('ident', certificateOf('ident', ['identity']));
    expect(await outcome(proxy, 'store', 'object.write')).toBe('object.write');
    expect(await outcome(proxy, 'store', 'object.states')).toBe('refused');
    expect(await outcome(storage, 'store', 'object.states')).toBe('object.states');
    expect(await outcome(storage, 'store', 'repair.compare')).toBe('repair.compare');
    expect(await outcome(proxy, 'store', 'repair.compare')).toBe('refused');
    expect(await outcome(identity, 'store', 'object.write')).toBe('refused');
    expect(await outcome(identity, 'store', 'device.status')).toBe('device.status');
  });

  it('who claims another name, site or cluster, or shows no role, is refused', async () => {
    await start('store', certificateOf('store', ['storage']));
    const wrong = {
      'its name': certificateOf('somebody', ['storage']),
      'its site': certificateOf('liar', ['storage'], 'lngs'),
      'its cluster': certificateOf('liar', ['storage'], 'bari', 'b'.repeat(32)),
      'no role': certificateOf('liar', []),
    };
    for (const [what, tls] of Object.entries(wrong)) {
      const liar = await start('liar', tls);
      expect(await outcome(liar, 'store', 'device.status'), what).not.toBe('device.status');
      await liar.close();
    }
  });

  it('a worker process goes by the certificate of its node', async () => {
    await start('store', certificateOf('store', ['storage']));
    const worker = await start('front/worker-1', certificateOf('front', ['proxy']));
    expect(await outcome(worker, 'store', 'object.write')).toBe('object.write');
  });

  it('an expelled node loses its connection at once and gets no other', async () => {
    const store = await start('store', certificateOf('store', ['storage']));
    const front = await start('front', certificateOf('front', ['proxy']));
    expect(await outcome(front, 'store', 'object.write')).toBe('object.write');
    revoked.add('front');
    store.enforce();
    expect(store.status().connections).toEqual([]);
    expect(await outcome(front, 'store', 'object.write')).not.toBe('object.write');
  });

  it('new certificates serve new connections, without a new listener', async () => {
    const store = await start('store', certificateOf('store', ['storage']));
    const renewed = certificateOf('store', ['storage']);
    store.renew(renewed);
    const front = await start('front', certificateOf('front', ['proxy']));
    expect(await outcome(front, 'store', 'object.write')).toBe('object.write');
  });
});
