/**
 * Globus EACL files, in the one form that IGTF distributes:
 *
 *     access_id_CA   X509    '/C=IT/O=INFN/CN=INFN CA'
 *     pos_rights     globus  CA:sign
 *     cond_subjects  globus  '"/C=IT/O=INFN/*" "/DC=org/*"'
 */
export interface SigningPolicy {
  readonly authority: string;
  allows(subject: string): boolean;
}

const MAX_PATTERNS = 1000;

export function parseSigningPolicy(text: string): SigningPolicy[] {
  const policies: { authority: string; patterns: string[] }[] = [];
  for (const line of text.split('\n')) {
    const [, key, value] = /^\s*(access_id_CA|cond_subjects)\s+\S+\s+(.*)$/.exec(line) ?? [];
    if (key === 'access_id_CA') policies.push({ authority: unquote(value!), patterns: [] });
    else if (key === 'cond_subjects')
      policies.at(-1)?.patterns.push(...patternsOf(unquote(value!)));
  }
  return policies.map(({ authority, patterns }) => ({
    authority,
    allows: (subject) =>
      patterns.slice(0, MAX_PATTERNS).some((pattern) => matchesPattern(pattern, subject)),
  }));
}

function unquote(text: string): string {
  const trimmed = text.trim();
  const [, inner] = /^'([^']*)'/.exec(trimmed) ?? /^"([^"]*)"/.exec(trimmed) ?? [];
  return inner ?? trimmed;
}

function patternsOf(text: string): string[] {
  const quoted = Array.from(text.matchAll(/"([^"]*)"/g), (match) => match[1]!);
  return quoted.length > 0 ? quoted : [text];
}

/** `*` for any run of characters, `?` for one. Takes at most the product of the lengths. */
export function matchesPattern(pattern: string, text: string): boolean {
  let [p, t, star, resume] = [0, 0, -1, 0];
  while (t < text.length) {
    if (p < pattern.length && pattern[p] === '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.length && (pattern[p] === '?' || pattern[p] === text[t])) {
      p++;
      t++;
    } else if (star >= 0) {
      p = star + 1;
      t = ++resume;
    } else return false;
  }
  while (pattern[p] === '*') p++;
  return p === pattern.length;
}
