/** The ACL that a request gives: canned, by headers, or as a document. */
import {
  GROUPS,
  type Grant,
  type Grantee,
  grantsOfCanned,
  type Owners,
  PERMISSIONS,
  type Permission,
} from './acl.ts';
import { refuse } from './errors.ts';
import { readDocument } from './payload.ts';
import type { S3Request } from './request.ts';
import {
  child,
  children,
  onlyChildren,
  readXml,
  requiredText,
  textOf,
  type XmlElement,
} from './xml-reader.ts';

const MAX_GRANTS = 100;

const GRANT_HEADERS: Readonly<Record<string, Permission>> = {
  'x-amz-grant-full-control': 'FULL_CONTROL',
  'x-amz-grant-read': 'READ',
  'x-amz-grant-write': 'WRITE',
  'x-amz-grant-read-acp': 'READ_ACP',
  'x-amz-grant-write-acp': 'WRITE_ACP',
};

/** Of a PUT of an ACL. @throws S3Error MissingSecurityHeader where there is none */
export async function grantsOfRequest(request: S3Request, owners: Owners): Promise<Grant[]> {
  const body = await readDocument(request, request.service.limits.maxDocumentBytes);
  const given = grantsOfHeaders(request, owners);
  if (body.length === 0) {
    if (given !== undefined) return given;
    throw refuse('MissingSecurityHeader', 'Your request was missing a required header', {
      MissingHeaderName: 'x-amz-acl',
    });
  }
  if (given !== undefined) {
    throw refuse('UnexpectedContent', 'This request does not support content');
  }
  return grantsOfXml(request, readXml(body, 'AccessControlPolicy'), owners.own);
}

/** Of x-amz-acl (in forms: the field acl) or the x-amz-grant-* headers; undefined: none of them came. @throws S3Error */
export function grantsOfHeaders(request: S3Request, owners: Owners): Grant[] | undefined {
  const canned = request.said('x-amz-acl');
  const named = Object.entries(GRANT_HEADERS).filter(([name]) => request.said(name) !== undefined);
  if (canned === undefined && named.length === 0) return undefined;
  if (canned !== undefined && named.length > 0) {
    throw refuse('InvalidRequest', 'Specifying both Canned ACLs and Header Grants is not allowed');
  }
  if (canned !== undefined) return grantsOfCanned(canned, owners);
  return checkGrants(
    named.flatMap(([name, permission]) =>
      granteesOf(request, request.said(name)!).map((grantee) => ({ grantee, permission })),
    ),
  );
}

/** `id="...", uri="..."`. */
function granteesOf(request: S3Request, value: string): Grantee[] {
  return value.split(',').map((item) => {
    const [, kind = '', text = ''] = /^\s*(id|uri|emailAddress)="?([^"]*)"?\s*$/i.exec(item) ?? [];
    return granteeOf(request, kind.toLowerCase(), text);
  });
}

function granteeOf({ service }: S3Request, kind: string, text: string): Grantee {
  if (kind === 'id' && service.signers.nameOfCanonical(text) !== undefined) return `id:${text}`;
  if (kind === 'uri' && GROUPS.has(`uri:${text}`)) return `uri:${text}`;
  if (kind === 'emailaddress') {
    throw refuse(
      'UnresolvableGrantByEmailAddress',
      'The e-mail address you provided does not match any account on record.',
    );
  }
  throw refuse('InvalidArgument', kind === 'uri' ? 'Invalid group uri' : 'Invalid id', {
    ArgumentName: kind,
    ArgumentValue: text,
  });
}

function checkGrants(grants: Grant[]): Grant[] {
  if (grants.length > MAX_GRANTS) throw refuse('MalformedACLError');
  return grants;
}

/** `<AccessControlPolicy>`. @throws S3Error MalformedACLError, InvalidArgument, AccessDenied */
function grantsOfXml(request: S3Request, policy: XmlElement, ownerId: string): Grant[] {
  onlyChildren(policy, ['Owner', 'AccessControlList']);
  const owner = child(policy, 'Owner');
  const list = child(policy, 'AccessControlList');
  if (owner === undefined || list === undefined) throw refuse('MalformedACLError');
  const stated = textOf(owner, 'ID');
  if (stated !== undefined && stated !== ownerId) throw refuse('AccessDenied');
  return checkGrants(children(list, 'Grant').map((grant) => grantOfXml(request, grant)));
}

function grantOfXml(request: S3Request, grant: XmlElement): Grant {
  const grantee = child(grant, 'Grantee');
  const permission = PERMISSIONS.find((known) => known === requiredText(grant, 'Permission'));
  if (grantee === undefined || permission === undefined) throw refuse('MalformedACLError');
  const type = Object.entries(grantee.attributes).find(([name]) => /(^|:)type$/.test(name))?.[1];
  return { grantee: granteeOf(request, ...named(grantee, type)), permission };
}

function named(grantee: XmlElement, type: string | undefined): [kind: string, text: string] {
  switch (type) {
    case 'CanonicalUser':
      return ['id', requiredText(grantee, 'ID')];
    case 'Group':
      return ['uri', requiredText(grantee, 'URI')];
    case 'AmazonCustomerByEmail':
      return ['emailaddress', requiredText(grantee, 'EmailAddress')];
    default:
      throw refuse('MalformedACLError');
  }
}
