import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Clock } from '#env/env.ts';
import { createNodeEnv } from '#env/node/node-env.ts';
import { Grid, type GridProof } from './grid.ts';
import { applyMapping, parseMapping } from './mapping.ts';
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
  name,
  newPair,
  pem,
  proxy,
  proxyInfo,
  user,
} from './x509/testing/pki.ts';
import { type Attributes, vomsExtension } from './x509/testing/voms.ts';

const ANNA = '/C=IT/O=Grid/CN=Anna';
const VOMS = '/C=IT/O=Grid/CN=voms.example.org';
const CA = '/C=IT/O=Grid/CN=Test CA';
const root = authority(CA);
const anna = user(ANNA, root, 77);
const server = issue({
  subject: VOMS,
  issuer: root,
  extensions: [basicConstraints(false), keyUsage(0x80)],
});

const attributesOfAnna = (wanted: Partial<Attributes>): Buffer =>
  vomsExtension({
    ...{ vo: 'atlas', fqans: ['/atlas/Role=NULL/Capability=NULL'] },
    ...{ holderIssuer: root.subject, holderSerial: 77, server },
    ...wanted,
  });

function vomsProxy(wanted: Partial<Attributes> = {}, policy = INHERIT): Issued {
  const extensions = [proxyInfo(policy), attributesOfAnna(wanted)];
  return issue({ subject: `${ANNA}/CN=1`, issuer: anna, extensions });
}

const RULES = {
  version: 1,
  rules: [
    {
      name: 'production',
      when: { fqan: ['/atlas/Role=production'] },
      project: 'atlas',
      roles: ['swiftoperator'],
    },
    {
      name: 'members',
      when: { vo: ['atlas'] },
      user: '{cn}',
      project: 'atlas',
      roles: ['reader'],
      groups: ['g'],
    },
    {
      name: 'alone',
      when: { subject: ['/C=IT/*Anna'], issuer: ['*Test CA'] },
      project: 'home',
      roles: ['member'],
    },
  ],
};

const folder = mkdtempSync(join(tmpdir(), 'anello-grid-'));
const real = createNodeEnv({ logLevel: 'silent' });
const clock: Clock = {
  wallMicros: () => NOW * 1000,
  monotonicMs: () => real.clock.monotonicMs(),
  setTimer: (ms, task) => real.clock.setTimer(ms, task),
  sleep: (ms, signal) => real.clock.sleep(ms, signal),
  defer: (task) => real.clock.defer(task),
};
const env = { ...real, clock };
let grid: Grid;

beforeAll(async () => {
  for (const name of ['ca', 'voms/atlas']) mkdirSync(join(folder, name), { recursive: true });
  writeFileSync(join(folder, 'ca', 'root.pem'), pem('CERTIFICATE', root.der));
  writeFileSync(join(folder, 'voms/atlas/voms.example.org.lsc'), `${VOMS}\n${CA}\n`);
  writeFileSync(join(folder, 'rules.json'), JSON.stringify(RULES));
  grid = new Grid({
    env,
    caFolder: join(folder, 'ca'),
    vomsFolder: join(folder, 'voms'),
    rulesFile: join(folder, 'rules.json'),
    parseRules: (text) => JSON.parse(text) as unknown,
  });
  await grid.start();
});
afterAll(async () => {
  grid.close();
  await real.close();
  rmSync(folder, { recursive: true });
});

const prove = (...chain: Issued[]): GridProof => grid.prove(chain.map(({ der: bytes }) => bytes));
const ruleFor = (...chain: Issued[]): string => prove(...chain).mapped.rule;

describe('grid identities', () => {
  it('are mapped by certificate, organisation and role', () => {
    expect(prove(anna)).toMatchObject({
      subject: ANNA,
      limited: false,
      mapped: { user: ANNA, project: 'home', roles: ['member'] },
    });
    expect(ruleFor(proxy(anna, ANNA), anna)).toBe('alone');
    const member = prove(vomsProxy(), anna);
    expect(member.mapped).toMatchObject({
      rule: 'members',
      user: 'Anna',
      project: 'atlas',
      groups: ['g'],
    });
    expect(member.fqans).toEqual(['/atlas']);
    expect(member.expiresMs).toBe(NOW + 2 * HOUR_MS);
    const fqans = ['/atlas/Role=NULL/Capability=NULL', '/atlas/Role=production/Capability=NULL'];
    expect(ruleFor(vomsProxy({ fqans }), anna)).toBe('production');
    expect(prove(vomsProxy({}, LIMITED), anna).limited).toBe(true);
  });

  it('keep their attributes when the proxy that carries them is delegated further', () => {
    const carrier = vomsProxy();
    expect(ruleFor(proxy(carrier, `${ANNA}/CN=1`, INHERIT, '2'), carrier, anna)).toBe('members');
  });

  it('get nothing from attributes that prove nothing', () => {
    const eve = user('/C=IT/O=Grid/CN=Eve', root);
    const forged: Partial<Attributes>[] = [
      { holderSerial: 78 },
      { holderIssuer: name('/CN=Other') },
      { untilMs: NOW - 1000 },
      { signer: eve },
      { signer: eve, chain: [eve] },
      { vo: 'cms', fqans: ['/cms'] },
      { fqans: ['/cms/Role=production'] },
      { fqans: ['/atlasx'] },
      { chain: [] },
      { chain: [issue({ subject: VOMS, issuer: root, signer: newPair().privateKey })] },
      { chain: [authority(VOMS)] },
    ];
    for (const wanted of forged)
      expect(ruleFor(vomsProxy(wanted), anna), JSON.stringify(wanted)).toBe('alone');
    const garbage = issue({
      subject: `${ANNA}/CN=1`,
      issuer: anna,
      extensions: [
        proxyInfo(INHERIT),
        extension('1.3.6.1.4.1.8005.100.100.5', Buffer.from('x'), false),
      ],
    });
    expect(ruleFor(garbage, anna)).toBe('alone');
  });

  it('are refused without a rule, or with a certificate that is not believed', () => {
    const otto = user('/C=DE/CN=Otto', root);
    expect(() => prove(otto)).toThrow(expect.objectContaining({ code: 'unauthorized' }));
    expect(() => prove(user(ANNA, authority(CA)))).toThrow(
      expect.objectContaining({ code: 'bad-certificate' }),
    );
    expect(() => prove()).toThrow(expect.objectContaining({ code: 'bad-certificate' }));
  });
});

describe('mapping rules', () => {
  it.each([
    {},
    { version: 2, rules: [] },
    { version: 1, rules: [{ when: {}, project: 'p' }] },
    { version: 1, rules: [{ when: { subject: [] }, project: 'p' }] },
    { version: 1, rules: [{ when: { subject: ['x'] } }] },
    { version: 1, rules: [{ when: { subjekt: ['x'] }, project: 'p' }] },
  ])('refuses %j with the place in the file', (value) => {
    expect(() => parseMapping(value)).toThrow(expect.objectContaining({ code: 'bad-mapping' }));
  });

  it('match claims of web tokens, all conditions at once', () => {
    const rules = parseMapping({
      version: 1,
      rules: [
        {
          when: { issuer: ['https://iss'], claim: { groups: ['/wlcg', '/x*'] } },
          user: '{subject}',
          project: 'w',
        },
      ],
    });
    const proven = { subject: 's1', issuer: 'https://iss', vos: [], fqans: [] };
    expect(applyMapping(rules, { ...proven, claims: { groups: ['a', '/xy'] } })).toMatchObject({
      user: 's1',
    });
    expect(applyMapping(rules, { ...proven, claims: { groups: ['a'] } })).toBeUndefined();
    expect(applyMapping(rules, proven)).toBeUndefined();
    expect(
      applyMapping(rules, { ...proven, issuer: 'x', claims: { groups: ['/wlcg'] } }),
    ).toBeUndefined();
  });
});
