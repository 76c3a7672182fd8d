# frozen_string_literal: true

# Runs every file of cases, or those that are named. Started by script/interop.

require "fileutils"
require_relative "support"
require_relative "jobs"
include Interop

Sidekiq.logger.level = Logger::WARN
$stdout.sync = true
at_exit { Program.stop_all }

ALL = %w[ruby_to_rust rust_to_ruby classes failures retries forms managing fleet mixed_fleet web buttons].freeze
# Sidekiq 7 has no namespaces any more.
names = ARGV.empty? ? ALL + (Sidekiq::VERSION.to_i < 7 ? %w[namespace] : []) : ARGV
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
