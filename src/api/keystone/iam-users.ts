/** IAM's users and their access keys. */
import { arnOf } from '#identity/iam/names.ts';
import type { Person } from '#identity/iam/people.ts';
import type { Project } from '#identity/records.ts';
import {
  type IamAction,
  type IamCall,
  invalid,
  mustBeAllowed,
  optional,
  page,
  required,
  trace,
} from './iam-call.ts';
import { element, isoSeconds, leaf } from './query-xml.ts';

export function userXml(project: Project, { id, name, createdMs }: Person): string {
  return (
    leaf('Path', '/') +
    leaf('UserName', name) +
    leaf('UserId', id) +
    leaf('Arn', arnOf(project.id, 'user', name)) +
    leaf('CreateDate', createdMs === undefined ? undefined : isoSeconds(createdMs))
  );
}

/** Whom the call is about: who is named, or who calls. Only the project's own users can be named. */
async function subject(call: IamCall): Promise<Person> {
  const { actor, api, project } = call;
  const { userId: id, userName } = actor.caller;
  const name = optional(call, 'UserName');
  mustBeAllowed(call, 'user', name ?? userName);
  if (name === undefined || name === userName) {
    const own = await api.identity.iam.people.find(project, userName);
    return own?.id === id || name === undefined ? (own ?? { id, name: userName }) : named(call);
  }
  return named(call);
}

function named(call: IamCall): Promise<Person> {
  return call.api.identity.iam.people.user(call.project, required(call, 'UserName'));
}

const createUser: IamAction = async (call) => {
  const name = required(call, 'UserName');
  mustBeAllowed(call, 'user', name);
  const user = await call.api.identity.iam.people.createUser(call.project, name);
  trace(call, { user: user.id });
  return element('User', userXml(call.project, user));
};

const getUser: IamAction = async (call) =>
  element('User', userXml(call.project, await subject(call)));

const listUsers: IamAction = async (call) => {
  mustBeAllowed(call, 'user', '*');
  const users = await call.api.identity.iam.people.users(call.project);
  return page(call, 'Users', users, (user) => userXml(call.project, user));
};

const updateUser: IamAction = async (call) => {
  const name = required(call, 'UserName');
  const newName = optional(call, 'NewUserName');
  mustBeAllowed(call, 'user', name);
  if (newName === undefined) return undefined;
  mustBeAllowed(call, 'user', newName);
  await call.api.identity.iam.people.renameUser(call.project, name, newName);
  trace(call, { name, newName });
  return undefined;
};

const deleteUser: IamAction = async (call) => {
  const name = required(call, 'UserName');
  mustBeAllowed(call, 'user', name);
  await call.api.identity.iam.people.deleteUser(call.project, name);
  trace(call, { name });
  return undefined;
};

const createAccessKey: IamAction = async (call) => {
  const user = await subject(call);
  const pair = await call.api.identity.iam.people.createKey(call.project, user.id);
  trace(call, { user: user.id, access: pair.access });
  return element(
    'AccessKey',
    leaf('UserName', user.name) +
      leaf('AccessKeyId', pair.access) +
      leaf('Status', 'Active') +
      leaf('SecretAccessKey', pair.secret) +
      leaf('CreateDate', isoSeconds(call.api.nowMs())),
  );
};

const listAccessKeys: IamAction = async (call) => {
  const user = await subject(call);
  const keys = await call.api.identity.iam.people.keys(call.project, user.id);
  const items = keys.map((key) => ({ ...key, name: key.access }));
  const listed = page(
    call,
    'AccessKeyMetadata',
    items,
    ({ access, enabled, createdMs }) =>
      leaf('UserName', user.name) +
      leaf('AccessKeyId', access) +
      leaf('Status', enabled ? 'Active' : 'Inactive') +
      leaf('CreateDate', isoSeconds(createdMs)),
  );
  return leaf('UserName', user.name) + listed;
};

const updateAccessKey: IamAction = async (call) => {
  const access = required(call, 'AccessKeyId');
  const status = call.fields['Status'];
  if (status !== 'Active' && status !== 'Inactive')
    throw invalid('The specified value for Status is invalid.');
  const user = await subject(call);
  const { people } = call.api.identity.iam;
  await people.activateKey(call.project, user.id, access, status === 'Active');
  trace(call, { access, status });
  return undefined;
};

const deleteAccessKey: IamAction = async (call) => {
  const access = required(call, 'AccessKeyId');
  const user = await subject(call);
  await call.api.identity.iam.people.deleteKey(call.project, user.id, access);
  trace(call, { access });
  return undefined;
};

export const USER_ACTIONS: Readonly<Record<string, IamAction>> = {
  CreateUser: createUser,
  GetUser: getUser,
  ListUsers: listUsers,
  UpdateUser: updateUser,
  DeleteUser: deleteUser,
  CreateAccessKey: createAccessKey,
  ListAccessKeys: listAccessKeys,
  UpdateAccessKey: updateAccessKey,
  DeleteAccessKey: deleteAccessKey,
};
