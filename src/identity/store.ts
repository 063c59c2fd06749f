/** All tables of identity, and the names that must be unique. */
import type { Compare, Operation, State } from '#state/state.ts';
import { nameHash } from './id.ts';
import {
  ACCESS_KEY,
  type AccessKey,
  APPLICATION_CREDENTIAL,
  type ApplicationCredential,
  CREDENTIAL,
  type Credential,
  DOMAIN,
  type Domain,
  ENDPOINT,
  type Endpoint,
  GRANT,
  GROUP,
  type Grant,
  type Group,
  IAM_ENTITY,
  IAM_ROLE,
  type IamEntity,
  type IamRole,
  INVITATION,
  type Invitation,
  LOCK_OUT,
  type LockOut,
  PASSWORD,
  type PasswordRecord,
  POLICIES,
  type Policies,
  PRIVATE,
  PROJECT,
  type Project,
  PUBLIC,
  PUBLIC_KEY,
  type PublicKeyRecord,
  REGION,
  REVOCATION,
  type Region,
  type Revocation,
  ROLE,
  type Role,
  SEALED,
  SERVICE,
  type SealedRecord,
  type Service,
  TRUST,
  type Trust,
  USER,
  type User,
} from './records.ts';
import { Table } from './table.ts';

export interface IdentityStore {
  readonly state: State;
  readonly domains: Table<Domain>;
  readonly projects: Table<Project>;
  readonly users: Table<User>;
  readonly roles: Table<Role>;
  readonly publicKeys: Table<PublicKeyRecord>;
  readonly revocations: Table<Revocation>;
  readonly accessKeys: Table<AccessKey>;
  readonly groups: Table<Group>;
  /** group id / user id */
  readonly members: Table<Grant>;
  /** user id / group id: the same, the other way round */
  readonly memberships: Table<Grant>;
  /** What proxies know of the two above: the group, and user id / group id. */
  readonly publicGroups: Table<Group>;
  readonly publicMemberships: Table<Grant>;
  readonly passwords: Table<PasswordRecord>;
  readonly signingSeeds: Table<SealedRecord>;
  /** actor kind / actor id / target kind / target id / inherited / role id */
  readonly grants: Table<Grant>;
  /** prior role id / implied role id */
  readonly impliedRoles: Table<Grant>;
  readonly credentials: Table<Credential>;
  /** user id / credential id */
  readonly applicationCredentials: Table<ApplicationCredential>;
  readonly services: Table<Service>;
  readonly endpoints: Table<Endpoint>;
  readonly regions: Table<Region>;
  readonly trusts: Table<Trust>;
  readonly invitations: Table<Invitation>;
  readonly lockOuts: Table<LockOut>;
  /** project id / user id */
  readonly iamUsers: Table<IamEntity>;
  /** project id / group id */
  readonly iamGroups: Table<IamEntity>;
  /** project id / role id */
  readonly iamRoles: Table<IamRole>;
  /** project id / user, group or role / its id */
  readonly policies: Table<Policies>;
  readonly names: Names;
}

export function openIdentityStore(state: State): IdentityStore {
  return {
    state,
    domains: new Table(state, `${PUBLIC}domain/`, DOMAIN),
    projects: new Table(state, `${PUBLIC}project/`, PROJECT),
    users: new Table(state, `${PUBLIC}user/`, USER),
    roles: new Table(state, `${PUBLIC}role/`, ROLE),
    publicKeys: new Table(state, `${PUBLIC}key/`, PUBLIC_KEY),
    revocations: new Table(state, `${PUBLIC}revocation/`, REVOCATION),
    accessKeys: new Table(state, `${PUBLIC}access/`, ACCESS_KEY),
    groups: new Table(state, `${PRIVATE}group/`, GROUP),
    members: new Table(state, `${PRIVATE}member/`, GRANT),
    memberships: new Table(state, `${PRIVATE}membership/`, GRANT),
    passwords: new Table(state, `${PRIVATE}password/`, PASSWORD),
    signingSeeds: new Table(state, `${PRIVATE}signing-seed/`, SEALED),
    grants: new Table(state, `${PRIVATE}grant/`, GRANT),
    impliedRoles: new Table(state, `${PRIVATE}implied-role/`, GRANT),
    credentials: new Table(state, `${PRIVATE}credential/`, CREDENTIAL),
    applicationCredentials: new Table(
      state,
      `${PRIVATE}application-credential/`,
      APPLICATION_CREDENTIAL,
    ),
    services: new Table(state, `${PRIVATE}service/`, SERVICE),
    endpoints: new Table(state, `${PRIVATE}endpoint/`, ENDPOINT),
    regions: new Table(state, `${PRIVATE}region/`, REGION),
    trusts: new Table(state, `${PRIVATE}trust/`, TRUST),
    invitations: new Table(state, `${PRIVATE}invitation/`, INVITATION),
    lockOuts: new Table(state, `${PRIVATE}lock-out/`, LOCK_OUT),
    publicGroups: new Table(state, `${PUBLIC}group/`, GROUP),
    publicMemberships: new Table(state, `${PUBLIC}member/`, GRANT),
    iamUsers: new Table(state, `${PRIVATE}iam-user/`, IAM_ENTITY),
    iamGroups: new Table(state, `${PRIVATE}iam-group/`, IAM_ENTITY),
    iamRoles: new Table(state, `${PUBLIC}iam-role/`, IAM_ROLE),
    policies: new Table(state, `${PUBLIC}policies/`, POLICIES),
    names: new Names(state),
  };
}

export type NamedKind = 'domain' | 'project' | 'user' | 'group' | 'role' | 'app-cred' | 'iam-role';

/** An index from (kind, scope, name) to id. A transaction that takes a name compares it as free. */
export class Names {
  readonly #state: State;

  constructor(state: State) {
    this.#state = state;
  }

  #key(kind: NamedKind, scope: string, name: string): string {
    return `${PRIVATE}name/${kind}/${nameHash(scope, name)}`;
  }

  async find(kind: NamedKind, scope: string, name: string): Promise<string | undefined> {
    return (await this.#state.get(this.#key(kind, scope, name)))?.value.toString();
  }

  free(kind: NamedKind, scope: string, name: string): Compare {
    return { key: this.#key(kind, scope, name), exists: false };
  }

  take(kind: NamedKind, scope: string, name: string, id: string): Operation {
    return { kind: 'put', key: this.#key(kind, scope, name), value: Buffer.from(id) };
  }

  release(kind: NamedKind, scope: string, name: string): Operation {
    return { kind: 'delete', key: this.#key(kind, scope, name) };
  }
}
