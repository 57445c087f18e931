<?php
// composer/semver. Argument: its autoload.php.
require $argv[1];

use Composer\Semver\Comparator;
use Composer\Semver\VersionParser;

// A branch that has a name is no version: comparing it answers nothing but equality.
function normal(VersionParser $parser, string $text): ?string
{
    try {
        $version = $parser->normalize($text);
    } catch (UnexpectedValueException $e) {
        return null;
    }
    return strncmp($version, 'dev-', 4) === 0 ? null : $version;
}

$parser = new VersionParser();
echo "composer/semver on PHP ", PHP_VERSION, "\n";
while (($a = fgets(STDIN)) !== false && ($b = fgets(STDIN)) !== false) {
    $a = normal($parser, rtrim($a, "\n"));
    $b = normal($parser, rtrim($b, "\n"));
    if ($a === null || $b === null) {
        echo "?\n";
    } elseif (Comparator::lessThan($a, $b)) {
        echo "<\n";
    } else {
        echo Comparator::greaterThan($a, $b) ? ">\n" : "=\n";
    }
}
