# frozen_string_literal: true

# Sidekiq, as a program of the harness (see harness/src/lib.rs): the same command line, the same
# answers. Set as Debian ships it and as Sidekiq's wiki says. This edition has no reliable fetch, so
# a job that runs when the process is killed is lost. Tuned: 10 threads, since the wiki says that
# more seldom help.

require "json"
require "optparse"
require "sidekiq"

role = ARGV.shift
options = { queues: 1, concurrency: 25, tasks: 1, batch: 1, sleep: 0 }
OptionParser.new do |parser|
  parser.on("--url URL") { |value| options[:url] = value }
  %i[jobs queues concurrency tasks batch every sleep].each do |name|
    parser.on("--#{name} NUMBER", Integer) { |value| options[name] = value }
  end
  parser.on("--log FILE") { |value| options[:log] = value }
  parser.on("--tuned") { options[:tuned] = true }
end.parse!

$stdout.sync = true
# This Sidekiq is older than its redis client, which would warn of every command.
Redis.silence_deprecations = true if Redis.respond_to?(:silence_deprecations=)
OPTIONS = options
QUEUES = Array.new(OPTIONS[:queues]) { |number| "bench-#{number}" }
SIZE = OPTIONS[:tuned] ? [10, OPTIONS[:concurrency]].min : OPTIONS[:concurrency]
Sidekiq.logger = Logger.new(OPTIONS[:log] || File::NULL, level: OPTIONS[:log] ? Logger::INFO : Logger::FATAL)

def monotonic
  Process.clock_gettime(Process::CLOCK_MONOTONIC)
end

def nanoseconds
  Process.clock_gettime(Process::CLOCK_REALTIME, :nanosecond)
end

def say(event, **more)
  puts JSON.generate({ event: event, **more })
end

# The counts of the jobs; see harness/src/job.rs.
class Tally
  WARM_UP = 50

  def initialize(wanted)
    @wanted = wanted
    @started = @ended = 0
    @latencies = []
    @mutex = Mutex.new
  end

  def started(sent_at)
    @mutex.synchronize do
      @first ||= monotonic
      @latencies << (nanoseconds - sent_at) if sent_at.positive? && @started >= WARM_UP
      @started += 1
    end
  end

  def ended
    @mutex.synchronize do
      @ended += 1
      say("done", jobs: @ended, seconds: monotonic - @first, latency: latency) if @ended == @wanted
    end
  end

  private

  def latency
    return if @latencies.empty?

    sorted = @latencies.sort
    at = ->(part) { sorted[((sorted.size - 1) * part).round] / 1e6 }
    { p50_ms: at[0.5], p99_ms: at[0.99], max_ms: at[1] }
  end
end

TALLY = Tally.new(OPTIONS[:jobs])

# The job.
class Bench
  include Sidekiq::Worker

  def perform(sent_at, milliseconds)
    TALLY.started(sent_at)
    sleep(milliseconds / 1000.0) if milliseconds.positive?
    TALLY.ended
  end
end

def push(queue, count)
  if OPTIONS[:batch] > 1
    args = Array.new(count) { [0, OPTIONS[:sleep]] }
    Sidekiq::Client.push_bulk("class" => Bench, "queue" => queue, "args" => args)
  elsif OPTIONS[:every]
    sleep(OPTIONS[:every] * rand(0.5..1.5) / 1e6)
    Bench.set(queue: queue).perform_async(nanoseconds, OPTIONS[:sleep])
  else
    Bench.set(queue: queue).perform_async(0, OPTIONS[:sleep])
  end
end

def enqueue
  Sidekiq.redis = { url: OPTIONS[:url], size: OPTIONS[:tasks] }
  Sidekiq.redis(&:ping)
  say("ready")
  $stdin.gets
  begun = monotonic
  firsts = Queue.new
  (0...OPTIONS[:jobs]).step(OPTIONS[:batch]) { |first| firsts << first }
  firsts.close
  Array.new(OPTIONS[:tasks]) do
    Thread.new do
      while (first = firsts.pop)
        push(QUEUES[first / OPTIONS[:batch] % QUEUES.size], [OPTIONS[:batch], OPTIONS[:jobs] - first].min)
      end
    end
  end.each(&:join)
  say("done", jobs: OPTIONS[:jobs], seconds: monotonic - begun, latency: nil)
  $stdin.read
end

def work
  # Makes this process a server: Sidekiq then sets itself up in another way.
  require "sidekiq/cli"
  # As many connections as Sidekiq opens itself.
  Sidekiq.redis = { url: OPTIONS[:url], size: SIZE + 5 }
  Sidekiq.options.merge!(concurrency: SIZE, queues: QUEUES, tag: "bench", labels: [], strict: true, timeout: 0)
  Sidekiq.redis(&:ping)
  say("ready")
  $stdin.gets
  Sidekiq::Launcher.new(Sidekiq.options).run
  $stdin.read
  exit!(0)
end

role == "work" ? work : enqueue
