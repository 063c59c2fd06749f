import { generateKeyPairSync } from 'node:crypto';
import forge from 'node-forge';
import { describe, expect, it } from 'vitest';
import { rejectedCode } from '#base/testing/thrown.ts';
import type { Socket, TlsOptions } from '../env.ts';
import { createNodeEnv } from './node-env.ts';

const env = createNodeEnv({ logLevel: 'silent' });
const { network, clock } = env;
const LOCAL = { host: '127.0.0.1', port: 0 };

async function until(isSo: () => boolean): Promise<void> {
  const endMs = clock.monotonicMs() + 120_000;
  while (!isSo()) {
    if (clock.monotonicMs() > endMs) throw new Error('it did not come to that');
    await clock.sleep(1);
  }
}

function closed(socket: Socket): Promise<Error | undefined> {
  return new Promise((resolve) => {
    socket.onClose = resolve;
  });
}

interface Identity {
  readonly keyPem: string;
  readonly key: forge.pki.rsa.PrivateKey;
  readonly certificate: forge.pki.Certificate;
}

/** A certificate of `name`, signed by `issuer` or by itself. */
function certify(name: string, issuer?: Identity): Identity {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const keyPem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const key = forge.pki.privateKeyFromPem(keyPem);
  const certificate = forge.pki.createCertificate();
  certificate.publicKey = forge.pki.setRsaPublicKey(key.n, key.e);
  certificate.serialNumber = name.length.toString(16).padStart(2, '0');
  certificate.validity.notAfter.setFullYear(certificate.validity.notBefore.getFullYear() + 1);
  const subject = [{ name: 'commonName', value: name }];
  certificate.setSubject(subject);
  certificate.setIssuer(issuer ? issuer.certificate.subject.attributes : subject);
  certificate.setExtensions([
    { name: 'basicConstraints', cA: issuer === undefined },
    { name: 'subjectAltName', altNames: [{ type: 2, value: name }] },
  ]);
  certificate.sign(issuer?.key ?? key, forge.md.sha256.create());
  return { keyPem, key, certificate };
}

function tlsOf(identity: Identity, authority: Identity, serverName?: string): TlsOptions {
  return {
    key: identity.keyPem,
    certificate: forge.pki.certificateToPem(identity.certificate),
    authority: forge.pki.certificateToPem(authority.certificate),
    ...(serverName && { serverName }),
  };
}

describe('network of node', () => {
  it('mutual TLS: each side learns the other by name; strangers do not get in', async () => {
    const [ours, theirs] = [certify('authority of ours'), certify('theirs')];
    const [server, client, stranger] = [
      certify('server', ours),
      certify('the client', ours),
      certify('stranger', theirs),
    ];
    const accepted: Socket[] = [];
    const listener = await network.listen(LOCAL, (socket) => accepted.push(socket), {
      tls: tlsOf(server, ours),
    });
    const socket = await network.connect(listener.address, { tls: tlsOf(client, ours, 'server') });
    const got = new Promise((resolve) => {
      socket.onData = resolve;
    });
    while (accepted.length === 0) await clock.sleep(1);
    accepted[0]!.write(Buffer.from('over TLS'));
    expect(String(await got)).toBe('over TLS');
    expect([socket.peerCertificate?.commonName, accepted[0]!.peerCertificate?.commonName]).toEqual([
      'server',
      'the client',
    ]);

    const wrongName = network.connect(listener.address, { tls: tlsOf(client, ours, 'another') });
    expect(await rejectedCode(wrongName)).toBe('ERR_TLS_CERT_ALTNAME_INVALID');
    const wrongAuthority = network.connect(listener.address, {
      tls: tlsOf(client, theirs, 'server'),
    });
    expect(await rejectedCode(wrongAuthority)).not.toBe('none');
    // TLS 1.3 tells a client that it was refused only after its own handshake.
    const refused = network.connect(listener.address, { tls: tlsOf(stranger, ours, 'server') });
    const late = await refused.catch(() => undefined);
    if (late !== undefined) {
      late.onData = () => undefined;
      await closed(late);
    }
    const plain = await network.connect(listener.address);
    plain.onData = () => undefined;
    plain.write(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
    await closed(plain);
    expect(accepted.length).toBe(1);
    socket.destroy();
    await listener.close();
  });

  it('a cut link falls silent in both directions, takes no new connection, and goes on when mended', async () => {
    const accepted: Socket[] = [];
    const heard: string[] = [];
    const listener = await network.listen(LOCAL, (socket) => {
      accepted.push(socket);
      socket.onData = (bytes) => heard.push(String(bytes));
    });
    const socket = await network.connect(listener.address, { delayMs: 1 });
    const told: string[] = [];
    socket.onData = (bytes) => told.push(String(bytes));
    let isClosed = false;
    socket.onClose = () => {
      isClosed = true;
    };
    socket.write(Buffer.from('before '));
    await until(() => heard.join('') === 'before ');
    network.cut([listener.address]);
    socket.write(Buffer.from('during '));
    socket.pause();
    socket.resume();
    accepted[0]!.write(Buffer.from('answer'));
    const another = network.connect(listener.address, { delayMs: 1, timeoutMs: 100 });
    expect(await rejectedCode(another)).toBe('ETIMEDOUT');
    expect([heard.join(''), told, isClosed]).toEqual(['before ', [], false]);
    const patient = network.connect(listener.address, { delayMs: 1, timeoutMs: 60_000 });
    network.cut([]);
    (await patient).destroy();
    socket.write(Buffer.from('after'));
    await until(() => heard.join('') === 'before during after' && told.join('') === 'answer');
    const again = await network.connect(listener.address, { delayMs: 1 });
    for (const each of [again, socket]) each.destroy();
    await listener.close();
  });

  it('a peer that does not answer times out', async () => {
    // A listener that accepts TCP and never speaks TLS.
    const listener = await network.listen(LOCAL, (socket) => {
      socket.onData = () => undefined;
    });
    const authority = certify('authority');
    const tls = tlsOf(authority, authority);
    const start = clock.monotonicMs();
    const silent = network.connect(listener.address, { tls, timeoutMs: 50 });
    expect(await rejectedCode(silent)).toBe('ETIMEDOUT');
    expect(clock.monotonicMs() - start).toBeLessThan(5000);
    await listener.close();
  });
});
