/** IAM's groups and who is in them. */
import { arnOf } from '#identity/iam/names.ts';
import type { Person } from '#identity/iam/people.ts';
import type { Project } from '#identity/records.ts';
import { type IamAction, mustBeAllowed, page, required, trace } from './iam-call.ts';
import { userXml } from './iam-users.ts';
import { element, isoSeconds, leaf } from './query-xml.ts';

function groupXml(project: Project, { id, name, createdMs }: Person): string {
  return (
    leaf('Path', '/') +
    leaf('GroupName', name) +
    leaf('GroupId', id) +
    leaf('Arn', arnOf(project.id, 'group', name)) +
    leaf('CreateDate', createdMs === undefined ? undefined : isoSeconds(createdMs))
  );
}

const createGroup: IamAction = async (call) => {
  const name = required(call, 'GroupName');
  mustBeAllowed(call, 'group', name);
  const group = await call.api.identity.iam.people.createGroup(call.project, name);
  trace(call, { group: group.id });
  return element('Group', groupXml(call.project, group));
};

const getGroup: IamAction = async (call) => {
  const name = required(call, 'GroupName');
  mustBeAllowed(call, 'group', name);
  const { people } = call.api.identity.iam;
  const group = await people.group(call.project, name);
  const members = await people.members(call.project, name);
  const listed = page(call, 'Users', members, (user) => userXml(call.project, user));
  return element('Group', groupXml(call.project, group)) + listed;
};

const listGroups: IamAction = async (call) => {
  mustBeAllowed(call, 'group', '*');
  const groups = await call.api.identity.iam.people.groups(call.project);
  return page(call, 'Groups', groups, (group) => groupXml(call.project, group));
};

const deleteGroup: IamAction = async (call) => {
  const name = required(call, 'GroupName');
  mustBeAllowed(call, 'group', name);
  await call.api.identity.iam.people.deleteGroup(call.project, name);
  trace(call, { name });
  return undefined;
};

const addUserToGroup: IamAction = async (call) => {
  const [group, user] = [required(call, 'GroupName'), required(call, 'UserName')];
  mustBeAllowed(call, 'group', group);
  await call.api.identity.iam.people.join(call.project, group, user);
  trace(call, { group, user });
  return undefined;
};

const removeUserFromGroup: IamAction = async (call) => {
  const [group, user] = [required(call, 'GroupName'), required(call, 'UserName')];
  mustBeAllowed(call, 'group', group);
  await call.api.identity.iam.people.leave(call.project, group, user);
  trace(call, { group, user });
  return undefined;
};

const listGroupsForUser: IamAction = async (call) => {
  const name = required(call, 'UserName');
  mustBeAllowed(call, 'user', name);
  const groups = await call.api.identity.iam.people.groupsOf(call.project, name);
  return page(call, 'Groups', groups, (group) => groupXml(call.project, group));
};

export const GROUP_ACTIONS: Readonly<Record<string, IamAction>> = {
  CreateGroup: createGroup,
  GetGroup: getGroup,
  ListGroups: listGroups,
  DeleteGroup: deleteGroup,
  AddUserToGroup: addUserToGroup,
  RemoveUserFromGroup: removeUserFromGroup,
  ListGroupsForUser: listGroupsForUser,
};
