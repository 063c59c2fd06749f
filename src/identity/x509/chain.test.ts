import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { codeOf, messageOf } from '#base/errors.ts';
import { createNodeEnv } from '#env/node/node-env.ts';
import { loadCaFolder } from './ca-folder.ts';
import { parseCertificate } from './certificate.ts';
import { type TrustStore, validateChain } from './chain.ts';
import { parseRevocationList } from './crl.ts';
import { matchesPattern, parseSigningPolicy } from './signing-policy.ts';
import {
  authority,
  basicConstraints,
  extension,
  HOUR_MS,
  INHERIT,
  type Issued,
  issue,
  keyUsage,
  LIMITED,
  NOW,
  newPair,
  pem,
  proxy,
  proxyInfo,
  revocationList,
  sequence,
  user,
} from './testing/pki.ts';

const CA = '/C=IT/O=Grid/CN=Test CA';
const ANNA = '/C=IT/O=Grid/CN=Anna';
const root = authority(CA);
const anna = user(ANNA, root, 77);
const trust: TrustStore = trusting(root);

function trusting(...anchors: Issued[]): TrustStore {
  return {
    anchors: anchors.map(({ der }) => ({ certificate: parseCertificate(der) })),
    revocationLists: [],
  };
}

const validate = (chain: readonly Issued[], store = trust, nowMs = NOW) =>
  validateChain(
    chain.map(({ der }) => parseCertificate(der)),
    store,
    nowMs,
  );

function why(chain: readonly Issued[], store = trust, nowMs = NOW): string {
  try {
    validate(chain, store, nowMs);
  } catch (error) {
    expect(codeOf(error)).toBe('bad-certificate');
    return messageOf(error);
  }
  return 'accepted';
}

describe('end entities', () => {
  it('are who their certificate says, below a trusted authority', () => {
    expect(validate([anna])).toMatchObject({
      subject: ANNA,
      issuer: CA,
      proxies: 0,
      limited: false,
    });
    expect(validate([anna, root]).subject).toBe(ANNA);
    const middle = authority('/C=IT/CN=Middle', root, 0);
    const otto = user('/C=IT/CN=Otto', middle);
    expect(validate([otto, middle]).subject).toBe('/C=IT/CN=Otto');
    expect(validate([otto, root, middle]).subject).toBe('/C=IT/CN=Otto');
    expect(validate([otto], trusting(middle)).subject).toBe('/C=IT/CN=Otto');
  });

  it('are refused without an authority, or with one of the same name', () => {
    expect(why([anna], trusting())).toContain('no trusted authority');
    expect(why([anna], trusting(authority(CA)))).toContain('was not signed by');
    const forged = authority(CA);
    expect(why([user(ANNA, forged), forged])).toContain('was not signed by');
  });

  it('do not become authorities', () => {
    expect(why([user('/CN=Eve', anna), anna])).toContain('is not an authority');
    const noUsage = issue({
      subject: '/CN=Sub',
      issuer: root,
      extensions: [basicConstraints(true), keyUsage(0x80)],
    });
    expect(why([user('/CN=Eve', noUsage), noUsage])).toContain('may not sign');
    expect(why([root])).toContain('not an end entity');
    const narrow = authority('/C=IT/CN=Narrow', root, 0);
    const below = authority('/C=IT/CN=Below', narrow);
    expect(why([user('/CN=Eve', below), below, narrow])).toContain('more authorities below');
  });

  it('count only between their dates, and with extensions that we understand', () => {
    expect(why([anna], trust, NOW + 13 * HOUR_MS)).toContain('has expired');
    expect(why([anna], trust, NOW - 2 * HOUR_MS)).toContain('not valid yet');
    expect(why([anna], trust, NOW + 2000 * HOUR_MS)).toContain('has expired');
    const odd = (critical: boolean) =>
      issue({
        subject: '/CN=Odd',
        issuer: root,
        extensions: [extension('1.2.3.4', sequence(), critical)],
      });
    expect(why([odd(true)])).toContain('unknown critical extension');
    expect(why([odd(false)])).toBe('accepted');
  });

  it('are refused when revoked, or when the list of their authority has expired', () => {
    const withList = (list: Buffer): TrustStore => ({
      ...trust,
      revocationLists: [parseRevocationList(list)],
    });
    expect(why([anna], withList(revocationList(root, [1, 77])))).toContain('was revoked');
    expect(why([anna], withList(revocationList(root, [78])))).toBe('accepted');
    expect(why([anna], withList(revocationList(root, [], NOW - HOUR_MS)))).toContain('list of');
    expect(why([proxy(anna, ANNA), anna], withList(revocationList(root, [77])))).toContain(
      'revoked',
    );
  });
});

describe('proxies', () => {
  const first = proxy(anna, ANNA);
  const second = proxy(first, `${ANNA}/CN=1`, INHERIT, '2');

  it('speak for the end entity, until the first of the chain ends', () => {
    expect(validate([first, anna])).toMatchObject({ subject: ANNA, proxies: 1, limited: false });
    expect(validate([second, first, anna])).toMatchObject({ subject: ANNA, proxies: 2 });
    const short = issue({
      subject: `${ANNA}/CN=s`,
      issuer: anna,
      untilMs: NOW + HOUR_MS,
      extensions: [proxyInfo(INHERIT)],
    });
    expect(validate([short, anna]).expiresMs).toBe(NOW + HOUR_MS);
    expect(why([short, anna], trust, NOW + 2 * HOUR_MS)).toContain('has expired');
  });

  it('stay limited', () => {
    const limited = proxy(anna, ANNA, LIMITED);
    expect(validate([limited, anna]).limited).toBe(true);
    const child = proxy(limited, `${ANNA}/CN=1`, LIMITED, '2');
    expect(validate([child, limited, anna]).limited).toBe(true);
    const shed = proxy(limited, `${ANNA}/CN=1`, INHERIT, '2');
    expect(why([shed, limited, anna])).toContain('full proxy made from a limited one');
    expect(validate([proxy(first, `${ANNA}/CN=1`, LIMITED), first, anna]).limited).toBe(true);
  });

  it('are refused under another name, issuer, policy, or as authorities', () => {
    const renamed = issue({
      subject: '/C=IT/O=Grid/CN=Boss/CN=1',
      issuer: anna,
      extensions: [proxyInfo(INHERIT)],
    });
    expect(why([renamed, anna])).toContain('one CN more');
    const two = issue({
      subject: `${ANNA}/CN=1/CN=2`,
      issuer: anna,
      extensions: [proxyInfo(INHERIT)],
    });
    expect(why([two, anna])).toContain('one CN more');
    const notCn = issue({ subject: `${ANNA}/O=1`, issuer: anna, extensions: [proxyInfo(INHERIT)] });
    expect(why([notCn, anna])).toContain('one CN more');
    const stolen = issue({
      subject: `${ANNA}/CN=1`,
      issuer: anna,
      signer: newPair().privateKey,
      extensions: [proxyInfo(INHERIT)],
    });
    expect(why([stolen, anna])).toContain('was not signed by');
    expect(why([proxy(anna, ANNA, '1.3.6.1.5.5.7.21.2'), anna])).toContain('another policy');
    const ca = issue({
      subject: `${ANNA}/CN=1`,
      issuer: anna,
      extensions: [proxyInfo(INHERIT), basicConstraints(true)],
    });
    expect(why([ca, anna])).toContain('a proxy that is an authority');
    const signer = issue({
      subject: `${ANNA}/CN=1`,
      issuer: anna,
      extensions: [proxyInfo(INHERIT), keyUsage(0x84)],
    });
    expect(why([signer, anna])).toContain('a proxy that is an authority');
    expect(why([second, anna])).toContain('one CN more');
    expect(why([first])).toContain('no end-entity');
    const soft = issue({
      subject: `${ANNA}/CN=1`,
      issuer: anna,
      extensions: [proxyInfo(INHERIT, undefined, false)],
    });
    expect(() => parseCertificate(soft.der)).toThrow('not critical');
    const mute = issue({ subject: ANNA, issuer: root, extensions: [keyUsage(0x20)] });
    expect(why([proxy(mute, ANNA), mute])).toContain('may not sign proxies');
    expect(why([anna, first, root])).toContain('above an end entity');
  });

  it('without proxy information are not proxies: the old form is refused', () => {
    const legacy = issue({ subject: `${ANNA}/CN=proxy`, issuer: anna, extensions: [] });
    expect(why([legacy, anna])).toContain('is not an authority');
  });

  it('keep to the number that may follow', () => {
    const none = proxy(anna, ANNA, INHERIT, '1', 0);
    expect(why([none, anna])).toBe('accepted');
    expect(why([proxy(none, `${ANNA}/CN=1`, INHERIT, '2'), none, anna])).toContain('more proxies');
    const one = proxy(anna, ANNA, INHERIT, '1', 1);
    expect(why([proxy(one, `${ANNA}/CN=1`, INHERIT, '2'), one, anna])).toBe('accepted');
    let chain = [anna];
    let text = ANNA;
    for (let i = 0; i < 16; i++) {
      chain = [proxy(chain[0]!, text, INHERIT, String(i)), ...chain];
      text += `/CN=${i}`;
    }
    expect(why(chain)).toContain('16 certificates');
  });
});

describe('hostile bytes', () => {
  it('give one clear refusal, whatever they are', () => {
    const check = (bytes: Buffer): void => {
      try {
        const parsed = parseCertificate(bytes);
        // Changed and still well formed: then the signature does not fit.
        if (!bytes.equals(anna.der)) expect(() => validateChain([parsed], trust, NOW)).toThrow();
      } catch (error) {
        if (codeOf(error) === 'internal') throw error;
        expect(codeOf(error)).toBe('bad-certificate');
      }
    };
    for (let bit = 0; bit < anna.der.length * 8; bit++) {
      const changed = Buffer.from(anna.der);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      check(changed);
    }
    for (let length = 0; length < anna.der.length; length++) check(anna.der.subarray(0, length));
    check(Buffer.concat([anna.der, Buffer.from([0])]));
    check(Buffer.alloc(100_000, 0x30));
    fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => check(Buffer.from(bytes))));
  });

  it('in names that pretend to be other names are refused', () => {
    const value = Buffer.from('Eve/CN=Anna');
    const make = () =>
      issue({ subject: `/CN=${value.toString().replace('/CN=', '#CN=')}`, issuer: root });
    const bytes = Buffer.from(
      make().der.toString('latin1').replace('Eve#CN=Anna', 'Eve/CN=Anna'),
      'latin1',
    );
    expect(() => parseCertificate(bytes)).toThrow('ambiguous');
  });
});

describe('the CA folder', () => {
  const folder = mkdtempSync(join(tmpdir(), 'anello-ca-'));
  const env = createNodeEnv({ logLevel: 'silent' });
  afterAll(async () => {
    await env.close();
    rmSync(folder, { recursive: true });
  });

  it('is read as IGTF distributes it; what is damaged or forged in it is left out', async () => {
    writeFileSync(join(folder, 'test.pem'), `Some text\n${pem('CERTIFICATE', root.der)}`);
    writeFileSync(join(folder, '1a2b3c4d.0'), root.der);
    writeFileSync(join(folder, '1a2b3c4d.r0'), pem('X509 CRL', revocationList(root, [77])));
    const forged = revocationList(root, [1], NOW + HOUR_MS, newPair().privateKey);
    writeFileSync(join(folder, 'forged.r0'), pem('X509 CRL', forged));
    writeFileSync(join(folder, 'broken.pem'), pem('CERTIFICATE', root.der.subarray(0, 50)));
    writeFileSync(
      join(folder, 'test.signing_policy'),
      `access_id_CA X509 '${CA}'\npos_rights globus CA:sign\ncond_subjects globus '"/C=IT/*"'\n`,
    );
    const store = await loadCaFolder(env, folder);
    expect(store.anchors).toHaveLength(1);
    expect(store.revocationLists).toHaveLength(1);
    expect(why([anna], store)).toContain('was revoked');
    expect(why([user('/C=IT/CN=Other', root, 5)], store)).toBe('accepted');
    expect(why([user('/C=DE/CN=Other', root, 6)], store)).toContain('may not sign');
  });

  it('understands signing policies', () => {
    const [policy] = parseSigningPolicy(
      `# x\naccess_id_CA X509 '/CN=A'\ncond_subjects globus '"/O=a/*" "/O=b/CN=?"'\n`,
    );
    expect(policy?.authority).toBe('/CN=A');
    expect(['/O=a/CN=x', '/O=b/CN=x', '/O=b/CN=xy', '/O=c'].map((s) => policy?.allows(s))).toEqual([
      true,
      true,
      false,
      false,
    ]);
    expect(matchesPattern('*a*b', 'xxaxxb')).toBe(true);
    expect(matchesPattern('a*', 'ba')).toBe(false);
    expect(matchesPattern('', '')).toBe(true);
  });
});
