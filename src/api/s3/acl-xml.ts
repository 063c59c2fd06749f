/** Owners and ACLs as answers tell them. */
import { type Grant, ownerIdOf } from './acl.ts';
import type { S3Request } from './request.ts';
import { element, leaf } from './xml.ts';

/** Id and name of a project. */
function personXml({ service }: S3Request, id: string): string {
  return leaf('ID', id) + leaf('DisplayName', service.signers.nameOfCanonical(id));
}

export function ownerXml(request: S3Request, account: string): string {
  return element('Owner', personXml(request, ownerIdOf(account)));
}

/** Who began an upload: a user, whom an upload of nobody (or an old one) tells as the bucket's owner. */
export function initiatorXml(
  request: S3Request,
  account: string,
  userId: string | undefined,
): string {
  return element('Initiator', userId ? leaf('ID', userId) : personXml(request, ownerIdOf(account)));
}

/** The content of AccessControlPolicy; without a list it is the owner's alone. */
export function aclXml(
  request: S3Request,
  ownerId: string,
  grants: readonly Grant[] | undefined,
): string {
  const shown = grants ?? [{ grantee: `id:${ownerId}`, permission: 'FULL_CONTROL' as const }];
  return (
    element('Owner', personXml(request, ownerId)) +
    element('AccessControlList', shown.map((grant) => grantXml(request, grant)).join(''))
  );
}

function grantXml(request: S3Request, { grantee, permission }: Grant): string {
  const name = grantee.slice(grantee.indexOf(':') + 1);
  const isGroup = grantee.startsWith('uri:');
  const who = isGroup ? leaf('URI', name) : personXml(request, name);
  const type = isGroup ? 'Group' : 'CanonicalUser';
  const attributes = `xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="${type}"`;
  return element(
    'Grant',
    `<Grantee ${attributes}>${who}</Grantee>${leaf('Permission', permission)}`,
  );
}
