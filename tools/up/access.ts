/** access.json: every endpoint and credential of the two demo accounts, for scripts (mode 0600). */
import { existsSync } from 'node:fs';
import { z } from 'zod';
import type { ReadyAccount } from '#identity/bootstrap.ts';
import type { NodePlan } from './cluster-plan.ts';
import type { GridFiles } from './demo-grid.ts';
import { readJsonFile } from './json-file.ts';

export interface AccountAccess {
  readonly swift: {
    readonly auth: string;
    readonly user: string;
    readonly key: string;
    readonly storageUrls: readonly string[];
  };
  readonly keystone: {
    readonly url: string;
    readonly region: string;
    readonly domain: string;
    readonly project: string;
    readonly user: string;
    readonly password: string;
  };
  readonly s3: {
    readonly endpoints: readonly string[];
    readonly region: string;
    readonly accessKey: string;
    readonly secretKey: string;
    readonly canonicalId: string;
    readonly displayName: string;
  };
}

export interface Access extends AccountAccess {
  /** A second user, in another project. */
  readonly second: AccountAccess;
  /** Log-in by certificate: identity's TLS ports, and somebody's certificate to try it with. */
  readonly grid: {
    readonly urls: readonly string[];
    readonly authority: string;
    readonly certificate: string;
    readonly key: string;
  };
}

/** S3's region names follow sites; any is accepted. */
export function accessOf(
  plans: readonly NodePlan[],
  accounts: readonly ReadyAccount[],
  { authority, userCertificate: certificate, userKey: key }: GridFiles,
  scheme: 'http' | 'https',
): Access {
  const proxies = plans.flatMap((plan) =>
    plan.ports.proxy === undefined
      ? []
      : [{ site: plan.site, url: `${scheme}://127.0.0.1:${plan.ports.proxy}` }],
  );
  const [first, second] = accounts.map((account) => accountAccess(proxies, account));
  const urls = plans.flatMap(({ ports }) =>
    ports.identityTls === undefined ? [] : [`https://127.0.0.1:${ports.identityTls}`],
  );
  return { ...first!, second: second!, grid: { urls, authority, certificate, key } };
}

function accountAccess(
  proxies: readonly { site: string; url: string }[],
  account: ReadyAccount,
): AccountAccess {
  const { site: region, url } = proxies[0]!;
  return {
    swift: {
      auth: `${url}/auth/v1.0`,
      user: `${account.projectName}:${account.userName}`,
      key: account.password,
      storageUrls: proxies.map((proxy) => `${proxy.url}/v1/AUTH_${account.projectId}`),
    },
    keystone: {
      url: `${url}/v3`,
      region,
      domain: account.domainName,
      project: account.projectName,
      user: account.userName,
      password: account.password,
    },
    s3: {
      endpoints: proxies.map((proxy) => proxy.url),
      region,
      accessKey: account.access,
      secretKey: account.secret,
      canonicalId: account.canonicalId,
      displayName: account.displayName,
    },
  };
}

const known = z.object({ user: z.string(), password: z.string() });
const accessFile = z.object({ keystone: known, second: z.object({ keystone: known }) });

/** Passwords of an earlier run by user name: they stay as they were told. */
export function readPasswords(file: string): Map<string, string> {
  if (!existsSync(file)) return new Map();
  const parsed = accessFile.safeParse(readJsonFile(file));
  if (!parsed.success) return new Map();
  return new Map(
    [parsed.data.keystone, parsed.data.second.keystone].map(({ user, password }) => [
      user,
      password,
    ]),
  );
}
