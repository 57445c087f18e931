# Gem::Version.
$stdout.sync = true
puts "RubyGems #{Gem::VERSION}"
while (a = $stdin.gets&.chomp) && (b = $stdin.gets&.chomp)
  if Gem::Version.correct?(a) && Gem::Version.correct?(b)
    puts ["<", "=", ">"][(Gem::Version.new(a) <=> Gem::Version.new(b)) + 1]
  else
    puts "?"
  end
end
