/**
 * Patterns of policies: `*` any run of characters, `?` any one; and variables in them, `${aws:username}`
 * or `${aws:username, 'nobody'}`. What a variable stands for is meant literally: a user who is called
 * `*` has one home, and `${*}` is how a policy speaks of an asterisk.
 */
import type { Facts } from './conditions.ts';

/** Of a pattern: a character, or two, of which the second is no wildcard. */
type Units = ArrayLike<string>;

/** Linear in text times stars, whatever the pattern: policies are anybody's input. */
export function globMatches(pattern: Units, text: string): boolean {
  let p = 0;
  let t = 0;
  let star = -1;
  let mark = 0;
  while (t < text.length) {
    const unit = p < pattern.length ? pattern[p] : undefined;
    if (unit === '*') {
      star = p++;
      mark = t;
    } else if (unit === '?' || unit === text[t] || (unit?.length === 2 && unit[1] === text[t])) {
      p += 1;
      t += 1;
    } else if (star >= 0) {
      p = star + 1;
      t = ++mark;
    } else return false;
  }
  while (pattern[p] === '*') p += 1;
  return p === pattern.length;
}

/** The same of a pattern with variables. */
export function patternMatches(pattern: string, text: string, facts: Facts): boolean {
  if (!pattern.includes('${')) return globMatches(pattern, text);
  const units: string[] = [];
  let at = 0;
  for (const { 0: whole, index } of pattern.matchAll(VARIABLE)) {
    const value = standsFor(whole, facts);
    units.push(...pattern.slice(at, index).split(''));
    units.push(...(value ?? whole).split('').map((character) => LITERAL + character));
    at = index + whole.length;
    // What is longer than the text can't be in it, and could be made very long.
    if ((value?.length ?? 0) > text.length || units.length > MAX_UNITS) return false;
  }
  units.push(...pattern.slice(at).split(''));
  return globMatches(units, text);
}

/** A variable without a value fits nothing: it stays as it stands. */
export function expand(pattern: string, facts: Facts): string {
  if (!pattern.includes('${')) return pattern;
  return pattern.replace(VARIABLE, (whole) => standsFor(whole, facts) ?? whole);
}

const LITERAL = '\\';
const MAX_UNITS = 65_536;
/** None is as long as that; a policy full of blanks must not take long. */
const VARIABLE = /\$\{[^}]{1,256}\}/g;
const WITH_DEFAULT = /^(.*?)\s*,\s*'([^']*)'\s*$/s;

function standsFor(variable: string, facts: Facts): string | undefined {
  const inner = variable.slice(2, -1);
  if (inner === '*' || inner === '?' || inner === '$') return inner;
  const [, name = inner, otherwise] = WITH_DEFAULT.exec(inner) ?? [];
  const values = facts(name.trim().toLowerCase());
  return values?.length === 1 ? values[0]! : otherwise;
}
