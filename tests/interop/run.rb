# frozen_string_literal: true

# Runs every file of cases, or those that are named; `--files` only lists them. Started by
# script/interop.

require "fileutils"
require_relative "support"
require_relative "jobs"
include Interop

Sidekiq.logger.level = Logger::WARN
$stdout.sync = true
at_exit { Program.stop_all }

# The longest first, because they run side by side.
ALL = %w[web dashboard buttons command_line classes retries fleet mixed_fleet rust_to_ruby forms ruby_to_rust failures managing].freeze
# Sidekiq 7 has no namespaces any more.
files = ALL + (Sidekiq::VERSION.to_i < 7 ? %w[namespace] : [])
if ARGV == ["--files"]
  puts files
  exit
end
names = ARGV.empty? ? files : ARGV
puts "# Sidekiq #{Sidekiq::VERSION}"
names.each do |name|
  flush
  load "#{__dir__}/#{name}.rb"
end

if Interop.failed.zero?
  FileUtils.rm_rf(LOGS)
else
  puts "what every program printed: #{LOGS}"
end
puts "#{Interop.passed} passed, #{Interop.failed} failed"
exit 1 if Interop.failed.positive? || Interop.passed.zero?
