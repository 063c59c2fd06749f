/**
 * The names under which policies may know a caller. A project is an account: by its id, its name, as
 * `AUTH_ID`, or by its canonical id; users, groups and roles stand below it.
 */
import { canonicalIdOf } from '#identity/credentials.ts';
import { accountOf, type Caller } from '../caller.ts';

export interface Principals {
  /** Everybody, the project, and the caller. */
  readonly all: ReadonlySet<string>;
  /** The same without the project: what is meant for the caller and not for the account. */
  readonly personal: ReadonlySet<string>;
}

const EVERYBODY = new Set(['*']);
const ANYBODY: Principals = { all: EVERYBODY, personal: EVERYBODY };

export function principalsOf(caller: Caller): Principals {
  if (caller.kind !== 'user' || caller.projectId === undefined) return ANYBODY;
  const { projectId, projectName } = caller;
  const accounts = [
    projectId,
    accountOf(projectId),
    ...(projectName === undefined ? [] : [projectName]),
  ];
  const personal = new Set(EVERYBODY);
  // Ids need no account to be understood.
  if (caller.assumedRole === undefined) personal.add(userOf('', caller.userId));
  const canonicalId = canonicalIdOf(projectId);
  const all = new Set([canonicalId, userOf('', canonicalId), ...accounts]);
  for (const account of accounts) {
    all.add(`arn:aws:iam::${account}:root`);
    for (const name of namesIn(account, caller)) personal.add(name);
  }
  return { all: new Set([...all, ...personal]), personal };
}

function userOf(account: string, user: string): string {
  return `arn:aws:iam::${account}:user/${user}`;
}

function namesIn(account: string, caller: Extract<Caller, { kind: 'user' }>): string[] {
  const { userId, userName, assumedRole, groups = [] } = caller;
  if (assumedRole !== undefined) {
    const { name, session } = assumedRole;
    return [
      `arn:aws:iam::${account}:role/${name}`,
      `arn:aws:sts::${account}:assumed-role/${name}/${session}`,
    ];
  }
  const ofGroups = groups.flatMap(({ id, name }) => (name === undefined ? [id] : [id, name]));
  return [
    ...[userId, userName].map((user) => userOf(account, user)),
    ...ofGroups.map((group) => `arn:aws:iam::${account}:group/${group}`),
  ];
}
