/**
 * What a cluster needs before the first log-in: the default domain, the built-in roles, and accounts
 * to begin with. Safe to run again: it adds what is missing and makes the given passwords work.
 */
import { codeOf } from '#base/errors.ts';
import { canonicalIdOf, type KeyPair } from './credentials.ts';
import { DEFAULT_DOMAIN_ID } from './id.ts';
import type { Identity } from './identity.ts';
import type { Project, User } from './records.ts';
import { BUILT_IN_ROLES } from './roles.ts';
import { secretText } from './secret-text.ts';

const PASSWORD_LENGTH = 20;

export interface BootstrapAccount {
  readonly project: string;
  readonly user: string;
  readonly roles: readonly (typeof BUILT_IN_ROLES)[number][];
  /** As kept in access.json. Without it one is made, and replaces that of a user who is there. */
  readonly password?: string;
}

export interface ReadyAccount {
  readonly projectId: string;
  readonly projectName: string;
  readonly userId: string;
  readonly userName: string;
  readonly domainName: string;
  readonly password: string;
  /** S3. */
  readonly access: string;
  readonly secret: string;
  readonly canonicalId: string;
  readonly displayName: string;
}

/** The accounts of `anello up`: an administrator, and an ordinary user of another project. */
export const DEMO_ACCOUNTS: readonly BootstrapAccount[] = [
  { project: 'demo', user: 'admin', roles: ['admin', 'member'] },
  { project: 'second', user: 'tester', roles: ['swiftoperator', 'member'] },
];

export async function bootstrap(
  identity: Identity,
  accounts: readonly BootstrapAccount[] = DEMO_ACCOUNTS,
): Promise<ReadyAccount[]> {
  await identity.ready;
  const { domains, roles } = identity;
  await ensure(
    async () => (await identity.context.store.domains.get(DEFAULT_DOMAIN_ID))?.fields,
    () =>
      domains.create({ id: DEFAULT_DOMAIN_ID, name: 'Default', description: 'The default domain' }),
  );
  for (const [i, name] of BUILT_IN_ROLES.entries()) {
    await ensure(
      () => roles.find(name),
      () => roles.create({ name, number: i + 1 }),
    );
  }
  const ready: ReadyAccount[] = [];
  for (const account of accounts) ready.push(await ensureAccount(identity, account));
  return ready;
}

export function ensureProject({ projects }: Identity, name: string): Promise<Project> {
  return ensure(
    () => projects.find(name),
    () => projects.create({ name }),
  );
}

async function ensureAccount(identity: Identity, account: BootstrapAccount): Promise<ReadyAccount> {
  const { roles, grants } = identity;
  const project = await ensureProject(identity, account.project);
  const { user, password } = await ensureUser(identity, account, project);
  for (const name of account.roles) {
    const role = await roles.find(name);
    if (role === undefined) continue;
    await grants.add({
      actor: { kind: 'user', id: user.id },
      target: { kind: 'project', id: project.id },
      roleId: role.id,
      inherited: false,
    });
  }
  const { access, secret } = await ensureKeyPair(identity, user, project);
  return {
    ...{ projectId: project.id, projectName: project.name, userId: user.id, userName: user.name },
    ...{ domainName: 'Default', password, access, secret },
    canonicalId: canonicalIdOf(project.id),
    displayName: project.name,
  };
}

async function ensureUser(
  identity: Identity,
  account: BootstrapAccount,
  project: Project,
): Promise<{ user: User; password: string }> {
  const { users, context } = identity;
  const password = account.password ?? secretText(context.env.random, PASSWORD_LENGTH);
  const known = await users.find(account.user);
  if (known === undefined) {
    const wanted = { name: account.user, password, defaultProjectId: project.id };
    return { user: await users.create(wanted), password };
  }
  const works = account.password !== undefined && (await users.passwordMatches(known.id, password));
  if (!works) await users.update(known.id, { password });
  return { user: known, password };
}

async function ensureKeyPair(identity: Identity, user: User, project: Project): Promise<KeyPair> {
  const { credentials } = identity;
  const pairs = await credentials.keyPairsOf(user.id);
  const pair = pairs.find(({ projectId }) => projectId === project.id);
  return pair ?? credentials.createKeyPair({ userId: user.id, projectId: project.id });
}

async function ensure<Thing>(
  find: () => Promise<Thing | undefined>,
  create: () => Promise<Thing>,
): Promise<Thing> {
  const found = await find();
  if (found !== undefined) return found;
  try {
    return await create();
  } catch (error) {
    // Somebody else was faster.
    const other = codeOf(error) === 'conflict' ? await find() : undefined;
    if (other === undefined) throw error;
    return other;
  }
}
