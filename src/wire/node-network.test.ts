/** The same endpoints over real sockets, plain and with mutual TLS. */
import { generateKeyPairSync } from 'node:crypto';
import forge from 'node-forge';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { HybridClock } from '#base/hybrid-clock.ts';
import type { Address, TlsOptions } from '#env/env.ts';
import { createNodeEnv } from '#env/node/node-env.ts';
import { type CallOptions, WireError } from './contract.ts';
import { Endpoint } from './endpoint.ts';
import { bodyOf, patternAt, readAll } from './testing/sim-cluster.ts';

const CALL: CallOptions = { txn: 'tx1', deadlineMs: 120_000 };
const MIB = 1024 * 1024;
const env = createNodeEnv({ logLevel: 'error' });
afterAll(() => env.close());
const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

interface Process {
  readonly endpoint: Endpoint;
  readonly address: Address;
}

async function start(
  node: string,
  known: Map<string, Address>,
  tls?: TlsOptions,
  delayMs?: number,
): Promise<Process> {
  const clock = new HybridClock({
    workerId: node.charCodeAt(0),
    wallMicros: () => env.clock.wallMicros(),
    bound: 0,
    reserve: () => undefined,
  });
  const endpoint = new Endpoint({
    env,
    clock,
    cluster: { clusterId: 'test', sharedKey: Buffer.alloc(32, 1) },
    self: { node, site: node },
    peers: {
      lookup: (name) => {
        const address = known.get(name);
        return address && { address, site: name, tls, delayMs };
      },
    },
  });
  const address = await endpoint.listen({ host: '127.0.0.1', port: 0 }, { tls });
  known.set(node, address);
  closing.push(() => endpoint.close());
  return { endpoint, address };
}

function serve(endpoint: Endpoint): void {
  endpoint.handle('echo', (args) => ({ result: args }));
  endpoint.handle('back', (_args, { body }) => ({ result: null, body: body! }));
}

/** Node makes keys far faster than forge. */
function makeKeys(): forge.pki.rsa.KeyPair {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const pem = privateKey.export({ type: 'pkcs1', format: 'pem' }).toString();
  const forged = forge.pki.privateKeyFromPem(pem);
  return { privateKey: forged, publicKey: forge.pki.setRsaPublicKey(forged.n, forged.e) };
}

/** An authority and certificates for names. */
function certify(names: string[]): Map<string, TlsOptions> {
  const authorityKeys = makeKeys();
  const subject = [{ name: 'commonName', value: 'test authority' }];
  const make = (name: string, keys: forge.pki.rsa.KeyPair, isAuthority: boolean): string => {
    const certificate = forge.pki.createCertificate();
    certificate.publicKey = keys.publicKey;
    certificate.serialNumber = `0${names.indexOf(name) + 2}`;
    certificate.validity.notBefore = new Date(Date.now() - 3_600_000);
    certificate.validity.notAfter = new Date(Date.now() + 3_600_000);
    certificate.setSubject([{ name: 'commonName', value: name }]);
    certificate.setIssuer(subject);
    certificate.setExtensions(
      isAuthority
        ? [{ name: 'basicConstraints', cA: true }]
        : [{ name: 'subjectAltName', altNames: [{ type: 7, ip: '127.0.0.1' }] }],
    );
    certificate.sign(authorityKeys.privateKey, forge.md.sha256.create());
    return forge.pki.certificateToPem(certificate);
  };
  const authority = make('test authority', authorityKeys, true);
  return new Map(
    names.map((name) => {
      const keys = makeKeys();
      const key = forge.pki.privateKeyToPem(keys.privateKey);
      return [name, { key, certificate: make(name, keys, false), authority }];
    }),
  );
}

describe('over real sockets', () => {
  it('calls and bodies pass unchanged, both ways at once', async () => {
    const known = new Map<string, Address>();
    const a = await start('a', known);
    const b = await start('b', known);
    serve(a.endpoint);
    serve(b.endpoint);
    const exchange = async (from: Endpoint, to: string): Promise<void> => {
      const length = 20 * MIB + 5;
      const { body } = await from.call(to, 'back', null, { ...CALL, body: bodyOf(length) });
      expect((await readAll(body)).equals(patternAt(0, length))).toBe(true);
    };
    const small = async (from: Endpoint, to: string): Promise<void> => {
      for (let i = 0; i < 500; i++) {
        const args = { i, data: Buffer.alloc(i * 40, i) };
        const { result } = await from.call(to, 'echo', args, CALL);
        expect((result as typeof args).data.equals(args.data)).toBe(true);
      }
    };
    await Promise.all([
      exchange(a.endpoint, 'b'),
      exchange(b.endpoint, 'a'),
      small(a.endpoint, 'b'),
      small(b.endpoint, 'a'),
    ]);
    expect(a.endpoint.rttMs('b')).toBeGreaterThan(0);
  });

  it('a refused connection is reported at once', async () => {
    const known = new Map<string, Address>();
    const a = await start('a', known);
    const b = await start('b', known);
    await b.endpoint.close();
    const error = await a.endpoint.call('b', 'echo', 1, CALL).catch((reason) => reason);
    expect(error).toMatchObject({ code: 'unreachable', facts: { reason: 'ECONNREFUSED' } });
  });

  it('a delayed path shows in the round-trip time', async () => {
    const known = new Map<string, Address>();
    const a = await start('a', known, undefined, 15);
    const b = await start('b', known);
    serve(b.endpoint);
    await a.endpoint.call('b', 'echo', 1, CALL);
    await a.endpoint.call('b', 'echo', 1, CALL);
    expect(a.endpoint.rttMs('b')).toBeGreaterThan(29);
    const { body } = await a.endpoint.call('b', 'back', null, { ...CALL, body: bodyOf(3 * MIB) });
    expect((await readAll(body)).equals(patternAt(0, 3 * MIB))).toBe(true);
  });
});

describe('with mutual TLS', () => {
  const certificates = certify(['a', 'b', 'c']);

  it('the certificates say who is who', async () => {
    const known = new Map<string, Address>();
    const a = await start('a', known, certificates.get('a'));
    const b = await start('b', known, certificates.get('b'));
    b.endpoint.handle('who', (_args, { peer }) => ({ result: peer }));
    serve(b.endpoint);
    expect((await a.endpoint.call('b', 'who', null, CALL)).result).toBe('a');
    const { body } = await a.endpoint.call('b', 'back', null, { ...CALL, body: bodyOf(MIB) });
    expect((await readAll(body)).equals(patternAt(0, MIB))).toBe(true);
  });

  it('a node with the certificate of another is refused, and so is one without', async () => {
    const known = new Map<string, Address>();
    const b = await start('b', known, certificates.get('b'));
    serve(b.endpoint);
    const posing = await start('a', known, certificates.get('c'));
    const error = await posing.endpoint.call('b', 'echo', 1, CALL).catch((reason) => reason);
    expect(error).toBeInstanceOf(WireError);
    expect(error).toMatchObject({ code: 'refused', facts: { reason: 'wrong-certificate' } });
    const plain = await start('p', known);
    const other = await plain.endpoint.call('b', 'echo', 1, CALL).catch((reason) => reason);
    expect(other.code).toBe('unreachable');
    expect(b.endpoint.status().connections).toEqual([]);
  });
});
