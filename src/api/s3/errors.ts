/**
 * The one table from what went wrong to what an S3 client is told. Keys with a capital are S3's own
 * codes; the others are codes of the store and of src/auth, each with the S3 code that stands for it.
 */
import { codeOf, messageOf, OperatingError } from '#base/errors.ts';
import { retryAfter } from '../http/retry-after.ts';

interface Answer {
  readonly status: number;
  readonly message: string;
}

const ANSWERS: Readonly<Record<string, Answer>> = {
  AccessControlListNotSupported: answer(400, 'The bucket does not allow ACLs'),
  AccessDenied: answer(403, 'Access Denied'),
  AccessForbidden: answer(403, 'CORSResponse: This CORS request is not allowed.'),
  AuthorizationHeaderMalformed: answer(
    400,
    'The authorization header that you provided is not valid.',
  ),
  AuthorizationQueryParametersError: answer(
    400,
    'Error parsing the query authentication parameters.',
  ),
  BadRequest: answer(400, 'Bad Request'),
  BadDigest: answer(400, 'The Content-MD5 you specified did not match what we received.'),
  BucketAlreadyExists: answer(
    409,
    'The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.',
  ),
  BucketAlreadyOwnedByYou: answer(
    409,
    'Your previous request to create the named bucket succeeded and you already own it.',
  ),
  BucketNotEmpty: answer(409, 'The bucket you tried to delete is not empty'),
  ConditionalRequestConflict: answer(
    409,
    'The conditional request cannot succeed due to a conflicting operation against this resource.',
  ),
  EntityTooLarge: answer(400, 'Your proposed upload exceeds the maximum allowed size'),
  EntityTooSmall: answer(400, 'Your proposed upload is smaller than the minimum allowed size'),
  ExpiredToken: answer(400, 'The provided token has expired.'),
  IllegalLocationConstraintException: answer(
    400,
    'The specified location constraint is not valid for this endpoint.',
  ),
  IllegalVersioningConfigurationException: answer(
    400,
    'The Versioning configuration specified in the request is invalid.',
  ),
  IncompleteBody: answer(
    400,
    'You did not provide the number of bytes specified by the Content-Length HTTP header',
  ),
  InternalError: answer(500, 'We encountered an internal error. Please try again.'),
  InvalidAccessKeyId: answer(
    403,
    'The AWS Access Key Id you provided does not exist in our records.',
  ),
  InvalidArgument: answer(400, 'Invalid Argument'),
  InvalidBucketAclWithObjectOwnership: answer(
    400,
    "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
  ),
  InvalidBucketName: answer(400, 'The specified bucket is not valid.'),
  InvalidBucketState: answer(409, 'The request is not valid with the current state of the bucket.'),
  InvalidChunkSizeError: answer(
    403,
    'Only the last chunk is allowed to have a size less than 8192 bytes',
  ),
  InvalidDigest: answer(400, 'The Content-MD5 you specified was invalid.'),
  InvalidEncryptionAlgorithmError: answer(
    400,
    'The encryption request you specified is not valid.',
  ),
  InvalidLocationConstraint: answer(400, 'The specified location-constraint is not valid'),
  InvalidObjectState: answer(403, "The operation is not valid for the object's storage class"),
  InvalidPart: answer(
    400,
    "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.",
  ),
  InvalidPartNumber: answer(416, 'The requested partnumber is not satisfiable'),
  InvalidPartOrder: answer(
    400,
    'The list of parts was not in ascending order. Parts must be ordered by part number.',
  ),
  InvalidPolicyDocument: answer(
    400,
    'The content of the form does not meet the conditions specified in the policy document.',
  ),
  InvalidRedirectLocation: answer(400, 'The website redirect location is not valid'),
  InvalidRange: answer(416, 'The requested range is not satisfiable'),
  InvalidRequest: answer(400, 'Invalid Request'),
  InvalidSecurity: answer(403, 'The provided security credentials are not valid.'),
  InvalidStorageClass: answer(400, 'The storage class you specified is not valid'),
  InvalidTag: answer(400, 'The tag provided was not a valid tag.'),
  InvalidTargetBucketForLogging: answer(400, 'The target bucket for logging does not exist'),
  InvalidToken: answer(400, 'The provided token is malformed or otherwise invalid.'),
  InvalidURI: answer(400, "Couldn't parse the specified URI."),
  'KMS.NotFoundException': answer(400, 'Invalid keyId'),
  KeyTooLongError: answer(400, 'Your key is too long'),
  MalformedACLError: answer(
    400,
    'The XML you provided was not well-formed or did not validate against our published schema',
  ),
  MalformedPOSTRequest: answer(
    400,
    'The body of your POST request is not well-formed multipart/form-data.',
  ),
  MalformedPolicy: answer(400, "Policies must be valid JSON and the first byte must be '{'"),
  MalformedTrailerError: answer(
    400,
    'The request contained trailing data that was not well-formed or did not conform to our published schema.',
  ),
  MalformedXML: answer(
    400,
    'The XML you provided was not well-formed or did not validate against our published schema',
  ),
  MaxMessageLengthExceeded: answer(400, 'Your request was too big.'),
  MaxPostPreDataLengthExceeded: answer(
    400,
    'Your POST request fields preceding the upload file were too large.',
  ),
  MetadataTooLarge: answer(400, 'Your metadata headers exceed the maximum allowed metadata size'),
  MetadataConfigurationNotFound: answer(404, 'The metadata configuration was not found'),
  MetadataTableConfigurationNotFound: answer(404, 'The metadata table configuration was not found'),
  MethodNotAllowed: answer(405, 'The specified method is not allowed against this resource.'),
  MissingContentLength: answer(411, 'You must provide the Content-Length HTTP header.'),
  MissingRequestBodyError: answer(400, 'Request Body is empty'),
  MissingSecurityHeader: answer(400, 'Your request was missing a required header'),
  NoSuchBucket: answer(404, 'The specified bucket does not exist'),
  NoSuchBucketPolicy: answer(404, 'The bucket policy does not exist'),
  NoSuchCORSConfiguration: answer(404, 'The CORS configuration does not exist'),
  NoSuchConfiguration: answer(404, 'The specified configuration does not exist.'),
  NoSuchKey: answer(404, 'The specified key does not exist.'),
  NoSuchLifecycleConfiguration: answer(404, 'The lifecycle configuration does not exist'),
  NoSuchObjectLockConfiguration: answer(
    404,
    'The specified object does not have a ObjectLock configuration',
  ),
  NoSuchPublicAccessBlockConfiguration: answer(
    404,
    'The public access block configuration was not found',
  ),
  NoSuchTagSet: answer(404, 'The TagSet does not exist'),
  NoSuchUpload: answer(
    404,
    'The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.',
  ),
  NoSuchVersion: answer(404, 'The specified version does not exist.'),
  NoSuchWebsiteConfiguration: answer(
    404,
    'The specified bucket does not have a website configuration',
  ),
  NotImplemented: answer(
    501,
    'A header or query you provided implies functionality that is not implemented.',
  ),
  NotModified: answer(304, 'Not Modified'),
  ObjectLockConfigurationNotFoundError: answer(
    404,
    'Object Lock configuration does not exist for this bucket',
  ),
  OperationAborted: answer(
    409,
    'A conflicting conditional operation is currently in progress against this resource. Please try again.',
  ),
  OwnershipControlsNotFoundError: answer(404, 'The bucket ownership controls were not found'),
  PreconditionFailed: answer(412, 'At least one of the pre-conditions you specified did not hold'),
  QuotaExceeded: answer(
    403,
    'The upload exceeds the quota of the bucket, of its account or of the user.',
  ),
  ReplicationConfigurationNotFoundError: answer(404, 'The replication configuration was not found'),
  RequestTimeTooSkewed: answer(
    403,
    "The difference between the request time and the server's time is too large.",
  ),
  RequestTimeout: answer(
    400,
    'Your socket connection to the server was not read from or written to within the timeout period.',
  ),
  ServerSideEncryptionConfigurationNotFoundError: answer(
    404,
    'The server side encryption configuration was not found',
  ),
  ServiceUnavailable: answer(503, 'Please reduce your request rate.'),
  SignatureDoesNotMatch: answer(
    403,
    'The request signature we calculated does not match the signature you provided. Check your key and signing method.',
  ),
  SlowDown: answer(503, 'Please reduce your request rate.'),
  TooManyBuckets: answer(400, 'You have attempted to create more buckets than allowed'),
  UnresolvableGrantByEmailAddress: answer(
    400,
    'The email address you provided does not match any account on record.',
  ),
  UnexpectedContent: answer(400, 'This request does not support content'),
  XAmzContentSHA256Mismatch: answer(
    400,
    "The provided 'x-amz-content-sha256' header does not match what was computed.",
  ),
};

/** Codes that are not S3's own. */
const STANDS_FOR: Readonly<Record<string, string>> = {
  'etag-mismatch': 'BadDigest',
  'length-mismatch': 'IncompleteBody',
  'body-too-large': 'EntityTooLarge',
  'client-timeout': 'RequestTimeout',
  'client-gone': 'RequestTimeout',
  'precondition-failed': 'PreconditionFailed',
  conflict: 'ConditionalRequestConflict',
  undecided: 'ConditionalRequestConflict',
  'not-strict': 'NotImplemented',
  'quota-exceeded': 'QuotaExceeded',
  'no-container': 'NoSuchBucket',
  'container-mismatch': 'ServiceUnavailable',
  'customer-key-needed': 'InvalidRequest',
  'customer-key-wrong': 'AccessDenied',
  'customer-key-unwanted': 'InvalidRequest',
  'no-such-key': 'KMS.NotFoundException',
  'no-object-keys': 'ServiceUnavailable',
  'object-key-lost': 'KMS.NotFoundException',
  unavailable: 'ServiceUnavailable',
  overloaded: 'SlowDown',
  'slow-down': 'SlowDown',
  timeout: 'ServiceUnavailable',
  gone: 'ServiceUnavailable',
  'ring-old': 'ServiceUnavailable',
  'ring-unknown': 'ServiceUnavailable',
  'no-ring': 'ServiceUnavailable',
  'no-policy': 'ServiceUnavailable',
  'clock-drift': 'ServiceUnavailable',
  'device-full': 'ServiceUnavailable',
  'state-unavailable': 'ServiceUnavailable',
};

/** Where the store's code says more than S3's. */
const MESSAGES: Readonly<Record<string, string>> = {
  'customer-key-needed':
    'The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object.',
  'customer-key-wrong':
    'Requests specifying Server Side Encryption with Customer provided keys must provide the correct secret key.',
  'customer-key-unwanted': 'The encryption parameters are not applicable to this object.',
  'no-object-keys': 'This store has no keys to encrypt objects with.',
  'object-key-lost': 'The key that this object was encrypted with is not there.',
};

function answer(status: number, message: string): Answer {
  return { status, message };
}

/** A request that is refused. `fields` stand in the XML beside code and message. */
export class S3Error extends OperatingError {
  override readonly name = 'S3Error';
  readonly fields: Readonly<Record<string, string>>;
  readonly headers: readonly string[];

  constructor(
    code: string,
    message: string,
    fields: Readonly<Record<string, string>>,
    headers: readonly string[],
  ) {
    super(code, message);
    this.fields = fields;
    this.headers = headers;
  }
}

export function refuse(
  code: string,
  message = ANSWERS[code]?.message ?? code,
  fields: Readonly<Record<string, string>> = {},
  headers: readonly string[] = [],
): S3Error {
  return new S3Error(code, message, fields, headers);
}

export interface ErrorAnswer {
  readonly code: string;
  readonly status: number;
  readonly message: string;
  readonly fields: Readonly<Record<string, string>>;
  readonly headers: readonly string[];
}

/** A code that is in no table is our own fault: 500, and the client is told nothing of it. */
export function errorAnswer(error: unknown): ErrorAnswer {
  const own = codeOf(error);
  const code = ANSWERS[own] === undefined ? (STANDS_FOR[own] ?? 'InternalError') : own;
  const { status, message } = ANSWERS[code]!;
  if (error instanceof S3Error) {
    return {
      code,
      status,
      message: messageOf(error),
      fields: error.fields,
      headers: error.headers,
    };
  }
  return {
    code,
    status,
    message: MESSAGES[own] ?? message,
    fields: {},
    headers: retryAfter(error),
  };
}
