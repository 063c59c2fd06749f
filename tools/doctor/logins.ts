/** Whom the doctor logs in as: of a cluster's data folder, or by the variables that clients use. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { OperatingError } from '#base/errors.ts';
import { readJsonFile } from '../up/json-file.ts';
import type { S3Keys } from './sigv4.ts';
import type { KeystoneLogin, SwiftLogin } from './swift-account.ts';

export interface Logins {
  readonly s3: (S3Keys & { readonly endpoint: string }) | undefined;
  readonly swift: SwiftLogin | undefined;
  readonly keystone: KeystoneLogin | undefined;
  readonly caFile?: string;
}

const accessSchema = z.object({
  swift: z.object({ auth: z.string(), user: z.string(), key: z.string() }),
  keystone: z.object({
    url: z.string(),
    region: z.string(),
    domain: z.string(),
    project: z.string(),
    user: z.string(),
    password: z.string(),
  }),
  s3: z.object({
    endpoints: z.array(z.string()).min(1),
    region: z.string(),
    accessKey: z.string(),
    secretKey: z.string(),
  }),
  grid: z.object({ authority: z.string() }).optional(),
});

/** @throws OperatingError `no-cluster` */
export function loginsOf(folder: string): Logins {
  const file = path.join(folder, 'access.json');
  if (!existsSync(file)) {
    const hint = `start one with "anello up --data ${folder}", or name a URL`;
    throw new OperatingError('no-cluster', `no cluster in ${folder}: ${hint}`);
  }
  const parsed = accessSchema.safeParse(readJsonFile(file));
  if (!parsed.success)
    throw new OperatingError('no-cluster', `${file} is not what "anello up" writes`);
  const { swift, keystone, s3, grid } = parsed.data;
  const { accessKey, secretKey, region } = s3;
  const secure = s3.endpoints[0]!.startsWith('https:');
  return {
    s3: { accessKey, secretKey, region, endpoint: s3.endpoints[0]! },
    swift,
    keystone,
    ...(secure && grid !== undefined && { caFile: grid.authority }),
  };
}

type Variables = Readonly<Record<string, string | undefined>>;

export function loginsAt(url: string, variables: Variables = process.env): Logins {
  const base = url.replace(/\/+$/, '');
  const { AWS_ACCESS_KEY_ID: accessKey, AWS_SECRET_ACCESS_KEY: secretKey } = variables;
  const { OS_USERNAME: user, OS_PASSWORD: password, OS_PROJECT_NAME: project } = variables;
  const { ST_USER: swiftUser, ST_KEY: key } = variables;
  const region = variables['AWS_REGION'] ?? variables['AWS_DEFAULT_REGION'] ?? 'us-east-1';
  return {
    s3: accessKey && secretKey ? { accessKey, secretKey, region, endpoint: base } : undefined,
    swift:
      swiftUser && key
        ? { user: swiftUser, key, auth: variables['ST_AUTH'] ?? `${base}/auth/v1.0` }
        : undefined,
    keystone:
      user && password && project
        ? {
            user,
            password,
            project,
            url: variables['OS_AUTH_URL'] ?? `${base}/v3`,
            domain: variables['OS_USER_DOMAIN_NAME'] ?? 'Default',
            region: variables['OS_REGION_NAME'],
          }
        : undefined,
  };
}
