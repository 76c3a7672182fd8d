# frozen_string_literal: true

# The parts of the cases: `check`, deadlines, and the programs that they run.

require "json"
require "sidekiq/api"
require "tmpdir"

# Sidekiq 6 calls the gem redis 4.8 in a way that causes a warning at every enqueue.
Redis.sadd_returns_boolean = false if defined?(Redis) && Redis.respond_to?(:sadd_returns_boolean=)

module Interop
  class Failed < StandardError; end

  DEADLINE = 30
  LOGS = Dir.mktmpdir("verk-interop")

  class << self
    attr_accessor :passed, :failed
  end
  self.passed = 0
  self.failed = 0

  # One case: passes unless the block raises.
  def check(name)
    yield
    Interop.passed += 1
    puts "ok - #{name}"
  rescue StandardError => e
    Interop.failed += 1
    puts "not ok - #{name}"
    puts "  #{e.class}: #{e.message}".gsub("\n", "\n  ")
    puts "  at #{e.backtrace.grep_v(/support\.rb/).first}"
  end

  def assert(condition, what)
    raise Failed, what unless condition
  end

  def assert_equal(expected, actual, what)
    assert expected == actual, "#{what}: expected #{expected.inspect}, found #{actual.inspect}"
  end

  def assert_between(range, actual, what)
    assert range.cover?(actual), "#{what}: expected #{range}, found #{actual.inspect}"
  end

  def assert_raises(error)
    yield
  rescue error
    nil
  else
    raise Failed, "no #{error}"
  end

  # Waits until the block returns a value, and returns that.
  def wait_until(what)
    deadline = monotonic + DEADLINE
    until (value = yield)
      Program.running.each(&:assert_running)
      assert monotonic < deadline, "waited #{DEADLINE} s for #{what}"
      sleep 0.02 # between two looks
    end
    value
  end

  def monotonic = Process.clock_gettime(Process::CLOCK_MONOTONIC)

  def redis(&block) = Sidekiq.redis(&block)

  # Waits until nothing waits in a queue and no job is held.
  def wait_until_idle
    wait_until("every job to be done") do
      redis { |r| r.keys("queue:*").empty? && r.keys("inprogress:*").empty? }
    end
  end

  # Waits until a program has ended by itself.
  def wait_until_ended(program)
    deadline = monotonic + DEADLINE
    sleep 0.02 while program.alive? && monotonic < deadline
    assert !program.alive?, "waited #{DEADLINE} s for #{program.name} to end"
  end

  # Makes a member of a sorted set due.
  def make_due(set, jid)
    entry = find(set, jid)
    redis { |r| r.zadd(set.name, Time.now.to_f - 1, entry.value) }
  end

  # A time in a job: milliseconds since Sidekiq 8, seconds before.
  def time_of(number) = Time.at(number.is_a?(Integer) ? number / 1000.0 : number)

  def find(set, jid) = set.find_job(jid) || raise(Failed, "#{jid} is not in the set #{set.name}")

  def retries = Sidekiq::RetrySet.new
  def dead = Sidekiq::DeadSet.new
  def scheduled = Sidekiq::ScheduledSet.new

  def flush = redis(&:flushdb)

  # Runs the Rust worker while the block runs.
  def with_rust(queues, env = {}, &block)
    env = { "VERK_QUEUES" => queues, "VERK_POLL_INTERVAL" => "200ms", "VERK_HEARTBEAT" => "2000ms" }.merge(env)
    Program.run("rust", env, [ENV.fetch("VERK_WORKER")], &block)
  end

  # Runs a real sidekiq while the block runs.
  def with_sidekiq(queues, env = {}, &block)
    command = ["sidekiq", "-r", "#{__dir__}/jobs.rb", "-C", "#{__dir__}/sidekiq.yml"]
    Program.run("sidekiq", env, command + queues.flat_map { |queue| ["-q", queue] }, &block)
  end

  # Runs the Rust client, and returns the ids of the jobs that it enqueued, by the words it prints
  # for them.
  def rust_client
    output = IO.popen([ENV.fetch("VERK_CLIENT")], &:read)
    assert $?.success?, "the client failed: #{output}"
    output.lines(chomp: true).each_with_object(Hash.new { |h, k| h[k] = [] }) do |line, jids|
      jid, what = line.split(" ", 2)
      jids[what] << jid
    end
  end

  # One run of a job, as both sides print it.
  Run = Struct.new(:jid, :class_name, :args)

  # A program that runs jobs.
  class Program
    include Interop

    @running = []
    @count = 0

    class << self
      attr_reader :running

      def run(name, env, command)
        program = new("#{@count += 1}-#{name}", env, command)
        @running << program
        yield program
      ensure
        program&.stop
      end

      def stop_all = @running.dup.each(&:kill)
    end

    attr_reader :name, :pid

    def initialize(name, env, command)
      @name = name
      @output = "#{LOGS}/#{name}.out"
      @errors = "#{LOGS}/#{name}.err"
      @pid = Process.spawn(env, *command, in: :close, out: @output, err: @errors)
    end

    # What it printed.
    def output = File.read(@output)

    # Every run so far, in order.
    def runs
      output.lines(chomp: true).grep(/\Aran /).map do |line|
        _, jid, class_name, args = line.split(" ", 4)
        Run.new(jid, class_name, JSON.parse(args))
      end
    end

    def runs_of(jid) = runs.select { |run| run.jid == jid }

    # Waits for the n-th run of a job.
    def wait_for(jid, nth: 1)
      wait_until("run #{nth} of #{jid} in #{name}") { runs_of(jid)[nth - 1] }
    end

    # Asks for the end, and waits for it. Returns the exit code.
    def stop
      return @status&.exitstatus unless alive?

      signal("TERM")
      deadline = monotonic + DEADLINE
      sleep 0.02 while alive? && monotonic < deadline
      kill
      @status.exitstatus
    ensure
      Program.running.delete(self)
    end

    def kill
      return unless alive?

      signal("KILL")
      _, @status = Process.wait2(@pid)
    ensure
      Program.running.delete(self)
    end

    def signal(name) = Process.kill(name, @pid)

    def assert_running
      assert alive?, "#{name} ended by itself (#{@status})\n#{File.read(@errors).lines.last(20).join}"
    end

    # What it logged, without colours.
    def log = File.read(@errors).gsub(/\e\[[\d;]*m/, "")

    def alive?
      return false if @status

      _, @status = Process.wait2(@pid, Process::WNOHANG)
      @status.nil?
    end
  end
end
