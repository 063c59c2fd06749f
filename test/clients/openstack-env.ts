/** python-openstackclient and python-swiftclient, logged in to a cluster by Keystone v3. */
import { expect } from 'vitest';
import type { Access } from '../cluster/cluster.ts';
import { run } from './program.ts';

export type Login = Readonly<Record<string, string>>;

export function loginOf(keystone: Access['keystone']): Login {
  return {
    OS_AUTH_URL: keystone.url,
    OS_IDENTITY_API_VERSION: '3',
    OS_USERNAME: keystone.user,
    OS_PASSWORD: keystone.password,
    OS_PROJECT_NAME: keystone.project,
    OS_USER_DOMAIN_NAME: keystone.domain,
    OS_PROJECT_DOMAIN_NAME: keystone.domain,
    OS_REGION_NAME: keystone.region,
  };
}

/** Standard output of a call that must succeed. */
export async function must(program: string, args: readonly string[], env: Login): Promise<string> {
  const { code, stdout, stderr } = await run(program, args, { env });
  expect(code, `${program} ${args.join(' ')}: ${stderr}`).toBe(0);
  return stdout.trim();
}

export async function fails(program: string, args: readonly string[], env: Login): Promise<string> {
  const { code, stderr } = await run(program, args, { env });
  expect(code, `${program} ${args.join(' ')} should have failed`).not.toBe(0);
  return stderr;
}

export async function openstackJson(args: readonly string[], env: Login): Promise<unknown> {
  return JSON.parse(await must('openstack', [...args, '-f', 'json'], env));
}
