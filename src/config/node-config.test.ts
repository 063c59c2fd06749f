import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { parseNodeConfig } from './node-config.ts';

const valid = {
  format: 1,
  name: 'lngs-1',
  site: 'lngs',
  roles: ['proxy', 'storage'],
  data: 'nodes/lngs-1',
  clusterId: '0'.repeat(32),
  wireKeyFile: 'wire.key',
  workerIds: [1],
  listen: {},
  authorities: ['http://127.0.0.1:7600'],
  state: { driver: 'sqlite', path: 'state.db' },
  masterKeyFile: 'master.key',
  authorityKey: 'PEM',
};

describe('node file', () => {
  it('fills in the default ports', () => {
    const config = parseNodeConfig(stringify(valid));
    expect(config.listen).toMatchObject({ wire: 7400, proxy: 8080, identity: 5000 });
    expect(Object.isFrozen(config)).toBe(true);
  });

  it('names every wrong field in one line', () => {
    const text = stringify({ ...valid, name: 'No Name', listen: { wire: 6001 }, extra: 1 });
    expect(() => parseNodeConfig(text)).toThrow(/name: .*listen\.wire: .*X11.*extra/s);
  });

  it('refuses fewer worker ids than processes', () => {
    expect(() => parseNodeConfig(stringify({ ...valid, proxyWorkers: 2 }))).toThrow(/workerIds/);
  });

  it('takes either store, and no TLS port without a certificate', () => {
    const etcd = { driver: 'etcd', endpoints: ['http://127.0.0.1:2379', 'https://b:2379/'] };
    expect(parseNodeConfig(stringify({ ...valid, state: etcd })).state).toEqual(etcd);
    const wrong = [
      { state: { driver: 'etcd', endpoints: [] } },
      { state: { driver: 'etcd', endpoints: ['ftp://a'] } },
      { state: { driver: 'etcd', endpoints: ['http://a/path'] } },
      { state: { driver: 'other' } },
      { listen: { identityTls: 5443 } },
      { trustedProxies: ['not an address'] },
      { trustedProxies: ['10.0.0.0/99'] },
      { identity: { tokenHours: 0 } },
    ];
    for (const change of wrong)
      expect(() => parseNodeConfig(stringify({ ...valid, ...change }))).toThrow(/wrong node file/);
  });

  it('refuses what is not YAML', () => {
    expect(() => parseNodeConfig('{')).toThrow(/not YAML/);
  });
});
